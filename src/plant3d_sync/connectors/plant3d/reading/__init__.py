"""What is read of a Plant 3D project: find it, copy one moment of it, discover its classes, read its items. Writes nothing."""
