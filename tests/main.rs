//! All integration tests: one binary, one module a subject.

mod engine;
mod ops;
mod reference;
mod roi;
