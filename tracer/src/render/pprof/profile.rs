//! The messages of `profile.proto` (<https://github.com/google/pprof/blob/main/proto/profile.proto>),
//! with the fields that are written. Where a comment says index, it is one of the string table.

use prost::Message;

/// A profile.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What the values of a sample are.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The stacks.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// Files that hold code.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// Places in them.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// Functions at these.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All text; the first is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// Start, Unix time in ns.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// Length in ns.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// Free text, indices.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// Index of the type shown first.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// Type and unit of a value, indices.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ValueType {
    /// Its type.
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// Its unit.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack and its values.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// Ids of locations, innermost first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One per sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else is known.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A key with a text or a number.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Label {
    /// Index of its key.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// Index of its text; 0: it is a number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// Its number.
    #[prost(int64, tag = "3")]
    pub num: i64,
}

/// A file that holds code.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Mapping {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Index of its path.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// True if functions are named, as far as they can be.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
}

/// A place in the code.
#[derive(Clone, PartialEq, Message)]
pub struct Location {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Of its file; 0: none.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// The function there.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A function at a location.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Line {
    /// Of the function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Function {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Index of its name.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Index of its name in the symbol table.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// Index of its source file; here the file that holds its code.
    #[prost(int64, tag = "4")]
    pub filename: i64,
}
