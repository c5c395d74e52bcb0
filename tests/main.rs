//! All integration tests: one binary, one module a subject.

mod augment;
mod cli;
mod dataset;
mod emulator;
mod engine;
mod golden;
mod ops;
mod predict;
mod reference;
mod report;
mod roi;
mod synth;
mod train;
