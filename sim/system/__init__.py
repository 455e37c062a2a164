"""What of the machine and of files from outside every room needs: files, caches, locks, child processes."""
