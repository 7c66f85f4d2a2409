// The place of the 3D viewer: without one, the picture and the download link are there.
