//! All integration tests: one binary, one module a subject.

mod cli;
mod engine;
mod ops;
mod reference;
mod train;
mod augment;
mod roi;
mod synth;
