"""What a clip is: the attribute table, arrays, camera, light and the row of the manifest."""
