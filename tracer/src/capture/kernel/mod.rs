//! The running kernel: its types, its symbols, its map contents.

pub(super) mod btf;
pub(super) mod file_functions;
pub(super) mod functions;
pub(super) mod kallsyms;
pub(super) mod lock_functions;
pub(super) mod maps;
pub(super) mod record_format;
