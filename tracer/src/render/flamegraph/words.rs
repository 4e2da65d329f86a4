//! What is written on a frame, and what is said of it when it is pointed at.

use crate::{
    analyse::{
        classify::Class,
        stacks::{FrameKind, Node, Stacks},
        units::{count, counted, duration, percent},
    },
    render::escape::escape,
};

/// The frame's name. That of a class goes without the words before it: its colour says that it is
/// one, and narrow frames have little room.
pub(super) fn name(node: &Node<'_>) -> String {
    match node.frame {
        None => "all".into(),
        Some(frame) if frame.kind == FrameKind::Class => escape(frame.name.trim_start_matches(FrameKind::CLASS_PREFIX)),
        Some(frame) => escape(&frame.name),
    }
}

/// What a class is, as [`explanation`] has it. No two classes are said to be the same.
pub(super) fn waits_for(class: Class) -> String {
    format!("waits for {}", without_parentheses(class.waits_for()))
}

fn without_parentheses(text: &str) -> String {
    text.replace('(', "[").replace(')', "]")
}

/// The frame's name, and its numbers in the last pair of parentheses: inferno's script takes off
/// what stands in that to get at the name.
pub(super) fn explanation(node: &Node<'_>, stacks: &Stacks<'_>) -> String {
    let waits = &node.waits;
    let mut words = vec![duration(waits.total_ns), percent(waits.total_ns, stacks.total_ns)];
    if waits.count > 0 {
        words.push(counted(waits.count, "wait"));
    }
    if let Some(p99) = stacks.p99(waits) {
        let of = if p99.of == waits.count {
            String::new()
        } else {
            format!(" of all {} with these kernel stacks", count(p99.of))
        };
        words.push(format!("p99 {}{of}", duration(p99.ns)));
    }
    if let Some(frame) = node.frame.filter(|frame| !frame.module.is_empty()) {
        words.push(format!("in {}", without_parentheses(&escape(frame.module))));
    }
    if let (Some(frame), Some(class)) = (node.frame, node.class)
        && (frame.kind == FrameKind::Class || (frame.kind == FrameKind::Note && node.own_ns > 0))
    {
        words.push(waits_for(class));
    }
    format!("{} ({})", name(node), words.join(", "))
}

/// The text, cut on the right to so many columns; empty if too little of it would be left.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.into();
    }
    // Less than that says nothing.
    if columns < 3 {
        return String::new();
    }
    text.chars().take(columns - 2).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn text_is_cut_to_what_fits() {
        assert_eq!(fit("vfs_read", 8), "vfs_read");
        assert_eq!(fit("vfs_read", 7), "vfs_r..");
        assert_eq!(fit("größe日本", 5), "grö..");
        assert_eq!(fit("vfs_read", 2), "");
        assert_eq!(fit("", 0), "");
    }
}
