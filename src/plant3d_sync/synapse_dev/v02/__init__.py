"""A test double of SYNAPSE 0.2 as a client meets it, its traps included: `store`, `app`, `main`.

Built from the description of that backend's behaviour; nothing of its code is here.
"""
