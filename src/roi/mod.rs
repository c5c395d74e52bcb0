//! ImageJ's ROI files: a reader of every type that ImageJ writes, a writer, archives, and the pixels that ImageJ would fill.
