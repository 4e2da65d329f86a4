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

const HOW_TO_READ: &str = "Width is time. Strong colour: what was waited for; pale: kernel functions; paler: the \
                           program; grey: several groups. Click a class to find it.";
const WITH_WAKERS: &str = "Width is time. Below the dark line: the wait and, in strong colour, what for. Above it: the way \
                           to the wake-up, which is at the line. Click a class to find it.";

/// Added to inferno's style: its search button is hard to see, and frames of one colour that stand
/// side by side run into one another.
const STYLE: &str = "#search { opacity:0.6; } #frames > g > rect { stroke:white; stroke-width:0.3; }";

/// A note, or the name of a group.
struct Text {
    text: String,
    fill: &'static str,
    bold: bool,
}

/// A colour with its meaning: a class, or a group with several.
struct Entry {
    column: usize,
    text: String,
    bold: bool,
    colour: Color,
    /// What it is, for who points at it.
    title: String,
    /// Regular expression that finds its frames by their explanations.
    pattern: String,
}

/// A line of the legend. A group stands on the first of its lines.
type Row = Vec<Entry>;

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
        notes.push(note(if stacks.with_wakers { WITH_WAKERS } else { HOW_TO_READ }, "rgb(90,90,90)", false));
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
            for entry in row {
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
    fn class(column: usize, class: Class, text: String, bold: bool) -> Self {
        let title = format!("{}: {}", class.name(), waits_for(class));
        Self { column, text, bold, colour: palette::class_colour(class), title, pattern: pattern(class) }
    }

    fn group(group: Group, text: String) -> Self {
        let classes: Vec<_> = Class::ALL.iter().filter(|class| class.group() == group).collect();
        let names: Vec<_> = classes.iter().map(|class| class.name()).collect();
        let patterns: Vec<_> = classes.iter().map(|&&class| pattern(class)).collect();
        Self {
            column: 0,
            text,
            bold: true,
            colour: palette::group_colour(group),
            title: format!("{}: {}", group.title(), names.join(", ")),
            pattern: patterns.join("|"),
        }
    }

    fn write(&self, out: &mut Writer<Vec<u8>>, bottom: usize) -> io::Result<()> {
        let search = format!("reset_search(); search('{}')", self.pattern);
        out.create_element("g").with_attributes([("cursor", "pointer"), ("onclick", &search)]).write_inner_content(
            |out| {
                out.create_element("title").write_text_content(BytesText::new(&self.title))?;
                square(out, self.column, bottom, self.colour)?;
                let text = Text { text: self.text.clone(), fill: "black", bold: self.bold };
                text.write(out, self.column + SQUARE, bottom)
            },
        )?;
        Ok(())
    }
}

/// A regular expression that finds what waits for this class. It has only letters, digits, spaces
/// and dots, which stand for any character, so it can stand in a script as it is.
fn pattern(class: Class) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == ' ' { c } else { '.' };
    waits_for(class).chars().map(keep).collect()
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
            rows.push(vec![Entry::class(0, *class, text, true)]);
            continue;
        }
        let mut row = vec![Entry::group(group, format!("{} {}", group.title(), numbers(ns)))];
        let mut column = SQUARE + GROUP_COLUMNS + GAP;
        for &&(class, ns) in &members {
            let text = format!("{} {}", class.name(), numbers(ns));
            let columns = SQUARE + text.chars().count();
            if column + columns > width {
                rows.push(std::mem::take(&mut row));
                column = SQUARE + GROUP_COLUMNS + GAP;
            }
            row.push(Entry::class(column, class, text, false));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, text: &str) -> bool {
        let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
        text.windows(pattern.len()).any(|part| part.iter().zip(&pattern).all(|(c, p)| c == p || *p == '.'))
    }

    #[test]
    fn a_pattern_finds_its_class_alone() {
        for &class in Class::ALL {
            let pattern = pattern(class);
            assert!(pattern.chars().all(|c| c.is_ascii_alphanumeric() || " .".contains(c)), "{pattern}");
            let found: Vec<_> = Class::ALL.iter().filter(|&&other| finds(&pattern, &waits_for(other))).collect();
            assert_eq!(found, [&class], "{pattern}");
        }
    }
}
