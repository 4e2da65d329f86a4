//! The block between the title and the frames: what is shown, and which colour is what.

use std::io;

use inferno::flamegraph::color::Color;
use quick_xml::{
    Writer,
    events::{BytesText, Event},
};

use super::{
    FONT_SIZE, FONT_WIDTH, MARGIN, WIDTH, palette,
    words::{fit, waits_for},
};
use crate::{
    analyse::{
        classify::{Class, Group},
        stacks::Stacks,
        units::{percent, short_duration},
    },
    render::{escape::escape, heading::Heading},
};

/// Distance between lines.
const LINE: usize = FONT_SIZE + 6;
/// Columns of the name of a group with its time.
const GROUP_COLUMNS: usize = 25;
/// Columns between two classes.
const GAP: usize = 2;
/// Columns a class's square takes.
const SQUARE: usize = 2;

const HOW_TO_READ: &str = "Width is time. Strong colour: what was waited for; pale: kernel functions; paler: the program; \
                           grey: several groups. Click a class to find it.";

/// Added to inferno's style: its search button is hard to see, and frames of one colour that stand
/// side by side run into one another.
const STYLE: &str = "#search { opacity:0.6; } #frames > g > rect { stroke:white; stroke-width:0.3; }";

/// A note, or the name of a group.
struct Text {
    text: String,
    fill: &'static str,
    bold: bool,
}

/// A class with its place.
struct Entry {
    column: usize,
    text: String,
    class: Class,
    bold: bool,
}

/// A line of the legend; the group stands on the first of its lines.
#[derive(Default)]
struct Row {
    group: Option<(Group, String)>,
    entries: Vec<Entry>,
}

/// The lines of the block.
pub(super) struct Legend {
    notes: Vec<Text>,
    rows: Vec<Row>,
}

impl Legend {
    pub(super) fn new(stacks: &Stacks<'_>, heading: &Heading) -> Self {
        let note = |line: &str, fill, bold| Text { text: escape(line), fill, bold };
        let mut notes: Vec<_> = heading.lines.iter().map(|line| note(line, "black", false)).collect();
        notes.extend(heading.incomplete.iter().map(|line| note(line, "rgb(176,0,32)", true)));
        notes.push(note(HOW_TO_READ, "rgb(90,90,90)", false));
        Self { notes, rows: rows(stacks) }
    }

    /// Height in pixels.
    pub(super) fn height(&self) -> usize {
        (self.notes.len() + self.rows.len()) * LINE + LINE / 2
    }

    /// Writes the block with its upper edge at `top`.
    pub(super) fn write(&self, out: &mut Writer<Vec<u8>>, top: usize) -> io::Result<()> {
        out.create_element("style").with_attribute(("type", "text/css")).write_text_content(BytesText::new(STYLE))?;
        let mut bottom = top;
        for note in &self.notes {
            bottom += LINE;
            note.write(out, 0, bottom)?;
        }
        bottom += LINE / 4;
        for row in &self.rows {
            bottom += LINE;
            if let Some((group, line)) = &row.group {
                square(out, 0, bottom, palette::group_colour(*group))?;
                Text { text: line.clone(), fill: "black", bold: true }.write(out, SQUARE, bottom)?;
            }
            for entry in &row.entries {
                entry.write(out, bottom)?;
            }
        }
        Ok(())
    }
}

impl Text {
    /// Writes what fits into the width, and the whole for who points at it.
    fn write(&self, out: &mut Writer<Vec<u8>>, column: usize, bottom: usize) -> io::Result<()> {
        let (x, y) = (format!("{:.1}", pixels_of(column)), bottom.to_string());
        let weight = if self.bold { "bold" } else { "normal" };
        out.create_element("text")
            .with_attributes([("x", x.as_str()), ("y", &y), ("fill", self.fill), ("font-weight", weight)])
            .write_inner_content(|out| {
                let shown = fit(&self.text, columns_of(WIDTH - 2.0 * MARGIN) - column);
                out.write_event(Event::Text(BytesText::new(&shown)))?;
                if shown != self.text {
                    out.create_element("title").write_text_content(BytesText::new(&self.text))?;
                }
                Ok(())
            })?;
        Ok(())
    }
}

impl Entry {
    fn write(&self, out: &mut Writer<Vec<u8>>, bottom: usize) -> io::Result<()> {
        let waits_for = waits_for(self.class);
        // In a regular expression a dot is any character. These texts are ours and have no quotes.
        let pattern = waits_for.replace(['[', ']'], ".");
        let search = format!("reset_search(); search('{pattern}')");
        out.create_element("g").with_attributes([("cursor", "pointer"), ("onclick", &search)]).write_inner_content(
            |out| {
                let title = format!("{}: {waits_for}", self.class.name());
                out.create_element("title").write_text_content(BytesText::new(&title))?;
                square(out, self.column, bottom, palette::class_colour(self.class))?;
                let text = Text { text: self.text.clone(), fill: "black", bold: self.bold };
                text.write(out, self.column + SQUARE, bottom)
            },
        )?;
        Ok(())
    }
}

/// Groups and the classes in them, most time first. A group of one class is one entry.
fn rows(stacks: &Stacks<'_>) -> Vec<Row> {
    let classes = stacks.classes();
    let mut groups: Vec<(Group, u64)> = Vec::new();
    for &(class, ns) in &classes {
        match groups.iter_mut().find(|(group, _)| *group == class.group()) {
            Some((_, sum)) => *sum += ns,
            None => groups.push((class.group(), ns)),
        }
    }
    groups.sort_by_key(|&(group, ns)| (std::cmp::Reverse(ns), group));
    let numbers = |ns| format!("{} {}", short_duration(ns), percent(ns, stacks.total_ns));
    let width = columns_of(WIDTH - 2.0 * MARGIN);
    let mut rows = Vec::new();
    for (group, ns) in groups {
        let members: Vec<_> = classes.iter().filter(|(class, _)| class.group() == group).collect();
        if let [(class, ns)] = *members {
            let names = if group.title() == class.name() { "" } else { &format!("{}: ", group.title()) };
            let text = format!("{names}{} {}", class.name(), numbers(*ns));
            rows.push(Row { group: None, entries: vec![Entry { column: 0, text, class: *class, bold: true }] });
            continue;
        }
        let mut row = Row { group: Some((group, format!("{} {}", group.title(), numbers(ns)))), entries: Vec::new() };
        let mut column = SQUARE + GROUP_COLUMNS + GAP;
        for &&(class, ns) in &members {
            let text = format!("{} {}", class.name(), numbers(ns));
            let columns = SQUARE + text.chars().count();
            if column + columns > width {
                rows.push(std::mem::take(&mut row));
                column = SQUARE + GROUP_COLUMNS + GAP;
            }
            row.entries.push(Entry { column, text, class, bold: false });
            column += columns + GAP;
        }
        rows.push(row);
    }
    rows
}

fn columns_of(pixels: f64) -> usize {
    (pixels / (FONT_SIZE as f64 * FONT_WIDTH)) as usize
}

fn pixels_of(column: usize) -> f64 {
    MARGIN + column as f64 * FONT_SIZE as f64 * FONT_WIDTH
}

fn square(out: &mut Writer<Vec<u8>>, column: usize, bottom: usize, colour: Color) -> io::Result<()> {
    let (x, y) = (format!("{:.1}", pixels_of(column)), (bottom + 1 - FONT_SIZE).to_string());
    let size = FONT_SIZE.to_string();
    let fill = format!("rgb({},{},{})", colour.r, colour.g, colour.b);
    out.create_element("rect")
        .with_attributes([("x", x.as_str()), ("y", &y), ("width", &size), ("height", &size), ("fill", &fill)])
        .write_empty()?;
    Ok(())
}
