//! Names, explanations and the legend, put into the picture that inferno drew of numbers.

use std::io;

use quick_xml::{
    Reader, Writer,
    events::{BytesStart, BytesText, Event},
};

use super::{FONT_SIZE, columns, index_of, legend::Legend, words};
use crate::{
    analyse::stacks::{Node, Stacks, Tree},
    render::heading::Heading,
};

/// inferno's own outermost frame begins so.
const ROOT: &str = "all (";

/// Where the block below the title begins. inferno writes the title above it.
const BELOW_TITLE: usize = 2 * FONT_SIZE + 6;

/// What is put into the picture.
pub(super) struct Dress<'a> {
    pub(super) tree: &'a Tree<'a>,
    pub(super) stacks: &'a Stacks<'a>,
    pub(super) heading: &'a Heading,
}

/// Where in the picture a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Elsewhere,
    /// The explanation of a frame.
    Title,
    /// The text on a frame.
    Text,
}

/// The picture with its numbers replaced and the legend inserted.
///
/// # Errors
/// If the picture is not one that inferno draws.
pub(super) fn dress(picture: &[u8], dress: &Dress<'_>) -> io::Result<Vec<u8>> {
    let legend = Legend::new(dress.stacks, dress.heading);
    let height = legend.height();
    let picture = std::str::from_utf8(picture).map_err(io::Error::other)?;
    let mut reader = Reader::from_str(picture);
    let mut out = Writer::new(Vec::with_capacity(2 * picture.len()));
    let (mut in_frames, mut at_root, mut place) = (false, true, Place::Elsewhere);
    let mut node: Option<&Node<'_>> = None;
    loop {
        match reader.read_event().map_err(io::Error::other)? {
            Event::Eof => break,
            Event::Start(tag) if at_root => {
                at_root = false;
                out.write_event(Event::Start(taller_root(&tag, height)?))?;
            }
            Event::Start(tag) if attribute(&tag, "id")?.as_deref() == Some("frames") => {
                in_frames = true;
                legend.write(&mut out, BELOW_TITLE)?;
                let y = height.to_string();
                let mut tag = tag.into_owned();
                tag.push_attribute(("y", y.as_str()));
                out.write_event(Event::Start(tag))?;
            }
            Event::Start(tag) if in_frames => {
                place = match tag.name().as_ref() {
                    b"title" => Place::Title,
                    b"text" => Place::Text,
                    _ => Place::Elsewhere,
                };
                out.write_event(Event::Start(tag))?;
            }
            Event::Start(tag) if matches!(attribute(&tag, "id")?.as_deref(), Some("details" | "matched")) => {
                out.write_event(Event::Start(replaced(&tag, "y", |y| lower(y, height))?))?;
            }
            Event::Empty(tag) if attribute(&tag, "fill")?.as_deref() == Some("url(#background)") => {
                out.write_event(Event::Empty(replaced(&tag, "height", |h| lower(h, height))?))?;
            }
            Event::Text(text) if place == Place::Title => {
                let found = find(dress.tree, &text.decode().map_err(io::Error::other)?)?;
                out.write_event(Event::Text(BytesText::new(&words::explanation(found, dress.stacks))))?;
                node = Some(found);
            }
            Event::Text(_) if place == Place::Text => {}
            Event::End(tag) if in_frames => {
                if place == Place::Text {
                    let node = node.ok_or_else(|| io::Error::other("a text before its title"))?;
                    let text = words::fit(&words::name(node), columns(node, dress.stacks.total_ns));
                    out.write_event(Event::Text(BytesText::new(&text)))?;
                }
                place = Place::Elsewhere;
                out.write_event(Event::End(tag))?;
            }
            event => out.write_event(event)?,
        }
    }
    Ok(out.into_inner())
}

/// The outermost element, with room for the legend.
fn taller_root(tag: &BytesStart<'_>, height: usize) -> io::Result<BytesStart<'static>> {
    let tag = replaced(tag, "height", |old| lower(old, height))?;
    replaced(&tag, "viewBox", |old| {
        let (rest, old) = old.rsplit_once(' ')?;
        Some(format!("{rest} {}", lower(old, height)?))
    })
}

/// A place or length so many pixels further down.
fn lower(old: &str, by: usize) -> Option<String> {
    let old: f64 = old.parse().ok()?;
    Some((old + by as f64).to_string())
}

/// The element with one attribute changed.
fn replaced(
    tag: &BytesStart<'_>,
    key: &str,
    change: impl Fn(&str) -> Option<String>,
) -> io::Result<BytesStart<'static>> {
    let mut new = tag.to_owned();
    new.clear_attributes();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(io::Error::other)?;
        if attribute.key.as_ref() == key.as_bytes() {
            let old = std::str::from_utf8(&attribute.value).map_err(io::Error::other)?;
            let value = change(old).ok_or_else(|| io::Error::other(format!("{key}={old} is not a number")))?;
            new.push_attribute((key, value.as_str()));
        } else {
            new.push_attribute(attribute);
        }
    }
    Ok(new)
}

fn attribute(tag: &BytesStart<'_>, key: &str) -> io::Result<Option<String>> {
    let found = tag.try_get_attribute(key).map_err(io::Error::other)?;
    Ok(found.map(|attribute| String::from_utf8_lossy(&attribute.value).into_owned()))
}

/// The node that a frame's explanation, as inferno wrote it, is about.
fn find<'a>(tree: &'a Tree<'a>, title: &str) -> io::Result<&'a Node<'a>> {
    let index = if title.starts_with(ROOT) { Some(0) } else { title.split(' ').next().and_then(index_of) };
    index
        .and_then(|index| tree.nodes.get(index))
        .ok_or_else(|| io::Error::other(format!("no frame has the number in '{title}'")))
}
