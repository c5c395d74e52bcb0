//! All integration tests: one binary, one module a subject.

mod engine;
mod golden;
mod ops;
mod reference;
