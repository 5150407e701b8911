"""Side by side with BlenderProc 2.8.0: the same scenes, the same reference, PSNR against CPU seconds."""
