//! The file format of <https://www.speedscope.app>, as its JSON schema
//! (<https://www.speedscope.app/file-format-schema.json>) has it: one "sampled" profile in ns.

use std::collections::HashMap;

use serde::Serialize;

use super::{escape::escape, heading::Heading};
use crate::analyse::stacks::{Frame, FrameKind, Stacks};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: String,
    name: String,
    active_profile_index: u32,
    shared: Shared,
    profiles: [Profile; 1],
}

#[derive(Serialize)]
struct Shared {
    frames: Vec<SharedFrame>,
}

#[derive(Serialize)]
struct SharedFrame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    r#type: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

/// One JSON object, with a line feed at its end.
///
/// # Errors
/// None that is known: everything in it has a JSON form.
pub fn render(stacks: &Stacks<'_>, heading: &Heading) -> serde_json::Result<String> {
    let mut frames = Vec::new();
    let mut indices = HashMap::<&Frame<'_>, usize>::new();
    let samples = stacks.rows.iter().map(|row| {
        let sample = row.frames.iter().map(|frame| {
            *indices.entry(frame).or_insert_with(|| {
                frames.push(shared(frame));
                frames.len() - 1
            })
        });
        sample.collect()
    });
    let samples = samples.collect();
    let mut text = serde_json::to_string(&File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        exporter: format!("nfslat@{}", env!("CARGO_PKG_VERSION")),
        name: escape(&heading.all_lines().collect::<Vec<_>>().join("; ")),
        active_profile_index: 0,
        shared: Shared { frames },
        profiles: [Profile {
            r#type: "sampled",
            name: escape(&heading.title),
            unit: "nanoseconds",
            start_value: 0,
            end_value: stacks.total_ns,
            samples,
            weights: stacks.rows.iter().map(|row| row.waits.total_ns).collect(),
        }],
    })?;
    text.push('\n');
    Ok(text)
}

fn shared(frame: &Frame<'_>) -> SharedFrame {
    let file = match frame.kind {
        FrameKind::Kernel | FrameKind::WakerKernel => Some("[kernel]".into()),
        _ if frame.module.is_empty() => None,
        _ => Some(escape(frame.module)),
    };
    SharedFrame { name: escape(&frame.name), file }
}
