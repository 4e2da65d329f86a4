//! Colours: a hue for each group of waits, with a shade for each class. Strong for what was waited
//! for, pale for the kernel functions on the way there, paler for the program's; grey where several
//! groups meet. All are light enough for black text.

use inferno::flamegraph::color::Color;

use crate::analyse::{
    classify::{Class, Group},
    stacks::{FrameKind, Node},
};

const WHITE: Color = Color::new(255, 255, 255);

/// The colour of a frame.
pub(super) fn colour(node: &Node<'_>) -> Color {
    let kind = node.frame.map_or(FrameKind::Process, |frame| frame.kind);
    match kind {
        FrameKind::Boundary => return Color::new(140, 140, 140),
        FrameKind::WakerKernel | FrameKind::Waker => return Color::new(213, 210, 232),
        _ => {}
    }
    let hue = match (node.class, node.group) {
        (Some(class), _) => class_colour(class),
        (None, Some(group)) => group_colour(group),
        (None, None) => Color::new(175, 175, 175),
    };
    match kind {
        FrameKind::Class => hue,
        FrameKind::Kernel => mix(hue, WHITE, 0.45),
        FrameKind::Note => mix(hue, WHITE, 0.6),
        _ => mix(hue, WHITE, 0.72),
    }
}

/// The colour of what was waited for.
pub(super) fn class_colour(class: Class) -> Color {
    let group = class.group();
    let (first, last) = ends(group);
    let siblings: Vec<_> = Class::ALL.iter().filter(|other| other.group() == group).collect();
    let place = siblings.iter().position(|&&other| other == class).unwrap_or(0);
    mix(first, last, place as f64 / (siblings.len().max(2) - 1) as f64)
}

/// The colour of a group.
pub(super) fn group_colour(group: Group) -> Color {
    let (first, last) = ends(group);
    mix(first, last, 0.5)
}

/// Colours of the first and the last class of a group.
const fn ends(group: Group) -> (Color, Color) {
    let (first, last) = match group {
        Group::Storage => ([70, 140, 240], [125, 225, 240]),
        Group::MemoryLock => ([240, 90, 80], [248, 150, 150]),
        Group::Memory => ([242, 145, 45], [250, 195, 125]),
        Group::Cpu => ([160, 160, 120], [160, 160, 120]),
        Group::OtherLock => ([165, 120, 235], [222, 165, 235]),
        Group::Futex => ([232, 200, 50], [242, 228, 130]),
        Group::Network => ([50, 180, 120], [150, 220, 110]),
        Group::Idle => ([155, 175, 188], [195, 207, 212]),
        Group::Unknown => ([190, 170, 145], [210, 196, 176]),
    };
    (Color::new(first[0], first[1], first[2]), Color::new(last[0], last[1], last[2]))
}

/// A colour on the way from one to another, which has this share.
fn mix(one: Color, other: Color, share: f64) -> Color {
    let mixed = |one: u8, other: u8| (f64::from(one) + (f64::from(other) - f64::from(one)) * share).round() as u8;
    Color::new(mixed(one.r, other.r), mixed(one.g, other.g), mixed(one.b, other.b))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: Color) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b)
    }

    #[test]
    fn black_text_can_be_read_on_every_class() {
        for &class in Class::ALL {
            let contrast = (luminance(class_colour(class)) + 0.05) / 0.05;
            assert!(contrast >= 5.5, "{}: {contrast}", class.name());
        }
    }

    #[test]
    fn classes_differ() {
        let colours: BTreeSet<_> = Class::ALL.iter().map(|&class| <[u8; 3]>::from(class_colour(class))).collect();
        assert_eq!(colours.len(), Class::ALL.len());
    }

    #[test]
    fn groups_are_far_apart() {
        let groups = Group::ALL.into_iter().filter(|&group| group != Group::Cpu);
        let colours: Vec<_> = groups.map(|group| (group, group_colour(group))).collect();
        for (index, (group, one)) in colours.iter().enumerate() {
            for (other_group, other) in &colours[..index] {
                let apart = one.r.abs_diff(other.r).max(one.g.abs_diff(other.g)).max(one.b.abs_diff(other.b));
                assert!(apart >= 30, "{group:?} and {other_group:?}: {apart}");
            }
        }
    }
}
