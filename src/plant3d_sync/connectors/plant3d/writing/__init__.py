"""What is written into a Plant 3D project, or for it: cells with their backup and their rights, and the workbook."""
