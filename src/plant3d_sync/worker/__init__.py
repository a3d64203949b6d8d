"""The worker and the scheduler: processes that carry out runs, and that say when a run is due."""
