"""`make demo`: the main job as a story, with the real output of real kubectl."""
