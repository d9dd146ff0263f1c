"""What `speediff.distributed` is made of: groups of processes and their launchers."""
