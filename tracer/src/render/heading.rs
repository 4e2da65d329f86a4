//! What a picture of stacks shows, in words: no picture without its machine, window and filters.

use super::{
    escape::escape,
    text::{clock::utc, filters},
};
use crate::{
    analyse::{
        Answer,
        stacks::{Selection, Stacks},
        units::{counted, duration},
    },
    model::Recording,
};

/// Title and further lines. They hold names from outside, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// What is shown and how much it is.
    pub title: String,
    /// Machine and window; what was selected and what left out.
    pub lines: Vec<String>,
    /// What was lost, if anything was.
    pub incomplete: Option<String>,
}

/// The heading of these stacks of a recording, of which `answer` says whether it is complete.
#[must_use]
pub fn heading(recording: &Recording, answer: &Answer, selection: &Selection, stacks: &Stacks<'_>) -> Heading {
    let total = duration(stacks.total_ns);
    let title = if stacks.with_wakers {
        format!("Off-CPU time: {total} of long waits, and who ended them")
    } else {
        format!("Off-CPU time: {total} of blocked thread time")
    };
    let host = &recording.host;
    let window = &recording.window;
    let mut what = vec![
        format!("{}, Linux {}", host.hostname, host.kernel),
        format!("{} from {}", duration(window.duration_ns), utc(window.start_unix_ns)),
    ];
    what.extend(filters(&recording.options));
    let mut lines = vec![what.join("; ")];
    let shown = [thread_filters(selection), class_filters(selection)].concat();
    if !shown.is_empty() {
        lines.push(format!("Shown: only {}", shown.join("; only ")));
    }
    if stacks.idle_left_out_ns > 0 {
        lines.push(format!(
            "Left out: {} of idle waits (poll, sleep, child, kernel threads without work, ...); --idle shows them",
            duration(stacks.idle_left_out_ns)
        ));
    }
    let incomplete = (!answer.complete).then(|| {
        let losses: Vec<_> = answer.losses.iter().map(|loss| loss.what.as_str()).collect();
        let count = counted(losses.len() as u64, "loss");
        format!("INCOMPLETE DATA: {count} ({}); nfslat report says more", losses.join(", "))
    });
    Heading { title, lines, incomplete }
}

/// The filters by process and thread, in words.
pub(super) fn thread_filters(selection: &Selection) -> Vec<String> {
    let numbers = |ids: &[u32]| ids.iter().map(u32::to_string).collect();
    given([
        ("pid", numbers(&selection.pids)),
        ("tid", numbers(&selection.tids)),
        ("threads or processes named", selection.comms.clone()),
    ])
}

/// The filters by what was waited for, in words.
pub(super) fn class_filters(selection: &Selection) -> Vec<String> {
    given([
        ("class", selection.classes.iter().map(|class| class.name().to_owned()).collect()),
        ("group", selection.groups.iter().map(|group| group.title().to_owned()).collect()),
    ])
}

fn given<const N: usize>(filters: [(&str, Vec<String>); N]) -> Vec<String> {
    let given = filters.into_iter().filter(|(_, values)| !values.is_empty());
    given.map(|(what, values)| format!("{what} {}", values.join(", "))).collect()
}

impl Heading {
    /// Everything below the title.
    pub fn all_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().chain(&self.incomplete).map(String::as_str)
    }

    /// The heading for a terminal, one line each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = [self.title.as_str()].into_iter().chain(self.all_lines());
        lines.map(|line| escape(line) + "\n").collect()
    }
}
