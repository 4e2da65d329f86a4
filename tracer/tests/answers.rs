//! Golden answers: what is printed for recordings made by hand.

mod common;

use nfslat::{
    analyse::answer,
    model::Recording,
    render::{Style, json, text},
};

fn as_text(recording: &Recording) -> String {
    text::render(&answer(recording), Style::default())
}

#[test]
fn nfs_is_slow() {
    insta::assert_snapshot!(as_text(&common::nfs_is_slow()));
}

#[test]
fn server_hangs() {
    insta::assert_snapshot!(as_text(&common::server_hangs()));
}

#[test]
fn mmap_storm() {
    insta::assert_snapshot!(as_text(&common::mmap_storm()));
}

#[test]
fn nothing_happens() {
    insta::assert_snapshot!(as_text(&common::nothing_happens()));
}

#[test]
fn much_is_lost() {
    insta::assert_snapshot!(as_text(&common::much_is_lost()));
}

#[test]
fn names_attack() {
    let text = as_text(&common::names_attack());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn empty() {
    insta::assert_snapshot!(as_text(&Recording::default()));
}

#[test]
fn json() {
    insta::assert_snapshot!(json::render(&answer(&common::nfs_is_slow())));
}
