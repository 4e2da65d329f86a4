//! Stacks merged from the outside in: what they have in common becomes one node.

use std::collections::HashMap;

use super::{Frame, Stacks, Waits};
use crate::analyse::classify::{Class, Group};

/// Nodes in the order in which they are drawn: a node before what it holds, wide before narrow.
#[derive(Clone, Debug)]
pub struct Tree<'s> {
    /// The first is the root, which has no frame.
    pub nodes: Vec<Node<'s>>,
}

/// A frame with everything that went through it.
#[derive(Clone, Debug)]
pub struct Node<'s> {
    /// The frame; `None` for the root.
    pub frame: Option<&'s Frame<'s>>,
    /// Index of the node around it; the root's own for the root.
    pub parent: usize,
    /// All waits that went through it.
    pub waits: Waits,
    /// The part of their time that no node inside it has.
    pub own_ns: u64,
    /// The class all of this time is in; `None` if it is in several.
    pub class: Option<Class>,
    /// The group all of this time is in; `None` if it is in several.
    pub group: Option<Group>,
}

impl<'s> Node<'s> {
    fn new(frame: Option<&'s Frame<'s>>, parent: usize, class: Class) -> Self {
        let waits = Waits::default();
        Self { frame, parent, waits, own_ns: 0, class: Some(class), group: Some(class.group()) }
    }

    fn add(&mut self, waits: &Waits, class: Class) {
        self.waits.merge(waits);
        self.class = self.class.filter(|&own| own == class);
        self.group = self.group.filter(|&own| own == class.group());
    }
}

impl<'s> Tree<'s> {
    /// The tree of these stacks, which are not empty.
    #[must_use]
    pub fn of(stacks: &'s Stacks<'_>) -> Self {
        let Some(first) = stacks.rows.first() else {
            return Self { nodes: Vec::new() };
        };
        let mut nodes = vec![Node::new(None, 0, first.class)];
        let mut known = HashMap::<(usize, &Frame<'_>), usize>::new();
        for row in &stacks.rows {
            nodes[0].add(&row.waits, row.class);
            let mut at = 0;
            for frame in &row.frames {
                let next = nodes.len();
                let parent = at;
                at = *known.entry((parent, frame)).or_insert(next);
                if at == next {
                    nodes.push(Node::new(Some(frame), parent, row.class));
                }
                nodes[at].add(&row.waits, row.class);
            }
            nodes[at].own_ns += row.waits.total_ns;
        }
        Self { nodes: in_order(&nodes) }
    }
}

/// Depth first, siblings by time and then by frame. Stacks can be deep: no recursion.
fn in_order<'s>(nodes: &[Node<'s>]) -> Vec<Node<'s>> {
    let mut children = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate().skip(1) {
        children[node.parent].push(index);
    }
    for siblings in &mut children {
        // The last is taken from the stack first.
        siblings.sort_by(|&one, &other| {
            let (one, other) = (&nodes[one], &nodes[other]);
            (one.waits.total_ns, other.frame).cmp(&(other.waits.total_ns, one.frame))
        });
    }
    let mut places = vec![0; nodes.len()];
    let mut ordered = Vec::with_capacity(nodes.len());
    let mut stack = vec![0];
    while let Some(index) = stack.pop() {
        places[index] = ordered.len();
        ordered.push(Node { parent: places[nodes[index].parent], ..nodes[index].clone() });
        stack.append(&mut children[index]);
    }
    ordered
}
