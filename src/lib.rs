//! A U-Net engine: from annotated ultrasound series to ROI files, written from scratch.
//!
//! The modules in the order in which the data flows:
//!
//! 1. [`error`], [`geometry`], [`random`], [`atomic_file`], [`terminal`]: anyone may use them.
//! 2. [`image`] and [`roi`]: pictures and ImageJ's ROI files.
//! 3. [`dataset`] and [`augment`]: annotated series become batches of plain arrays.
//! 4. [`tape`] and [`ops`]: operations recorded symbolically, and their adjoints; [`model`] is written in them.
//! 5. [`plan`]: fusion, lifetimes, one arena.
//! 6. [`backend`]: executes a plan's instructions on a device.
//! 7. [`optim`] and [`checkpoint`]: named parameters and their state.
//! 8. [`infer`], [`segment`] and [`metrics`]: from pictures to probabilities, to objects, and how good they are.
//! 9. [`train`] and [`predict`]: the only places where the picture side and the tensor side meet.
//! 10. [`report`], [`mod@bench`] and [`cli`].

pub mod atomic_file;
pub mod augment;
pub mod backend;
pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod dataset;
pub mod error;
pub mod geometry;
pub mod image;
pub mod infer;
pub mod metrics;
pub mod model;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod predict;
pub mod random;
pub mod report;
pub mod roi;
pub mod segment;
pub mod tape;
pub mod terminal;
pub mod train;
