"""One file a step; the file's number is its place."""
