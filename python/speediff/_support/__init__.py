"""What every other room uses: checks of arguments, optional packages, files, progress."""
