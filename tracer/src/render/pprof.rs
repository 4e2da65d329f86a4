//! A profile for `pprof` (<https://github.com/google/pprof>), shaped as Go's block and mutex
//! profiles are: contentions and delay.

pub mod profile;

use std::{collections::HashMap, io};

use flate2::{Compression, GzBuilder};
use prost::Message as _;

use super::{escape::escape, heading::Heading};
use crate::{
    analyse::stacks::{Frame, FrameKind, StackRow, Stacks},
    model::Window,
};
use profile::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// The profile, compressed with gzip as `pprof` expects it. Each sample has the labels `pid`, `comm`
/// and `class`.
///
/// # Errors
/// None that is known: it is compressed into memory.
pub fn render(stacks: &Stacks<'_>, heading: &Heading, window: &Window) -> io::Result<Vec<u8>> {
    let mut builder = Builder::default();
    // The first string has to be the empty one.
    builder.string("");
    let sample_type = [("contentions", "count"), ("delay", "nanoseconds")]
        .map(|(r#type, unit)| ValueType { r#type: builder.string(r#type), unit: builder.string(unit) });
    let sample = stacks.rows.iter().map(|row| builder.sample(row)).collect();
    let comment = [heading.title.as_str()].into_iter().chain(heading.all_lines());
    let profile = Profile {
        comment: comment.map(|line| builder.string(&escape(line))).collect(),
        default_sample_type: builder.string("delay"),
        sample_type: sample_type.into(),
        sample,
        time_nanos: clamp(window.start_unix_ns),
        duration_nanos: clamp(window.duration_ns),
        mapping: builder.mapping,
        location: builder.location,
        function: builder.function,
        string_table: builder.strings,
    };
    // Without a time in the header, so that equal profiles are equal files.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    io::Write::write_all(&mut gzip, &profile.encode_to_vec())?;
    gzip.finish()
}

/// Tables that samples refer to. Ids are index + 1, since 0 means none.
#[derive(Default)]
struct Builder {
    strings: Vec<String>,
    string_index: HashMap<String, i64>,
    mapping: Vec<Mapping>,
    mapping_id: HashMap<String, u64>,
    function: Vec<Function>,
    location: Vec<Location>,
    location_id: HashMap<(String, String), u64>,
}

impl Builder {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.string_index.get(text) {
            return index;
        }
        let index = clamp(self.strings.len() as u64);
        self.strings.push(text.into());
        self.string_index.insert(text.into(), index);
        index
    }

    fn mapping(&mut self, file: &str) -> u64 {
        if file.is_empty() {
            return 0;
        }
        if let Some(&id) = self.mapping_id.get(file) {
            return id;
        }
        let id = self.mapping.len() as u64 + 1;
        // Everything that can be named is named: pprof need not look for symbols.
        let filename = self.string(file);
        self.mapping.push(Mapping { id, filename, has_functions: true });
        self.mapping_id.insert(file.into(), id);
        id
    }

    fn location(&mut self, frame: &Frame<'_>) -> u64 {
        let file = match frame.kind {
            FrameKind::Kernel | FrameKind::WakerKernel => "[kernel]".into(),
            _ => escape(frame.module),
        };
        let key = (escape(&frame.name), file);
        if let Some(&id) = self.location_id.get(&key) {
            return id;
        }
        let id = self.location.len() as u64 + 1;
        let name = self.string(&key.0);
        let filename = self.string(&key.1);
        self.function.push(Function { id, name, system_name: name, filename });
        let mapping_id = self.mapping(&key.1);
        self.location.push(Location { id, mapping_id, line: vec![Line { function_id: id }] });
        self.location_id.insert(key, id);
        id
    }

    fn sample(&mut self, row: &StackRow<'_>) -> Sample {
        let mut text = |key: &str, value: &str| Label { key: self.string(key), str: self.string(value), num: 0 };
        let mut label = vec![text("comm", &escape(row.comm)), text("class", row.class.name())];
        label.push(Label { key: self.string("pid"), str: 0, num: row.pid.into() });
        Sample {
            location_id: row.frames.iter().rev().map(|frame| self.location(frame)).collect(),
            value: vec![clamp(row.waits.count), clamp(row.waits.total_ns)],
            label,
        }
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
