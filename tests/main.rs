//! All integration tests: one binary, one module a subject.

mod augment;
mod roi;
mod synth;
