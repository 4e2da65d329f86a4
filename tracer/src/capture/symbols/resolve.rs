//! From addresses to names, after the window: first which file each address is in, then the
//! names, file by file, those with the most frames first.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsString,
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    RawStack, Resolved, cut, elf, module,
    module::Ways,
    patience::Patience,
    perf_map,
    spaces::{Blank, Snapshot, SpaceId, Spaces},
};
use crate::model::{Loss, UserFrame, UserStack};

/// How long one file is waited for.
const FILE_LIMIT: Duration = Duration::from_secs(2);
/// Largest file of a runtime's names that is read.
const MAX_PERF_MAP_BYTES: u64 = 64 << 20;

pub(super) struct Resolver<'a> {
    pub(super) proc: &'a Path,
    pub(super) spaces: &'a Spaces,
    pub(super) deadline: Instant,
}

/// A file of code: its device and inode, and its name, as one inode number may be two files'
/// (subvolumes).
type FileId = ((u32, u32), u64, OsString);

/// Where an address is.
enum Home {
    /// In a file, at an offset.
    File(usize, u64),
    /// In memory of a process without a file: code that a runtime generated.
    Memory(SpaceId, String),
    /// In something that the kernel maps, such as `[vdso]`, at an offset.
    Kernel(String, u64),
    /// Nothing is mapped there, as far as known.
    Nowhere,
}

/// A file and the offsets in it that are looked for.
struct Wanted {
    name: String,
    ways: Option<Ways>,
    offsets: BTreeSet<u64>,
}

/// Names of one file or process by offset or address, or why there are none.
type Names = Result<HashMap<u64, String>, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    /// It is on a network file system.
    Remote,
    /// It is gone, cannot be read, or has no symbols that can be read.
    Unreadable,
    /// There was no time.
    Late,
}

impl Resolver<'_> {
    /// Looks up all that can be looked up before the deadline.
    pub(super) fn resolve(&self, stacks: &[RawStack], patience: &mut Patience) -> Resolved {
        let places = Places::of(self, stacks);
        let mut files: Vec<Option<Names>> = places.files.iter().map(|_| None).collect();
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(places.files[index].offsets.len()));
        for index in order {
            files[index] = Some(self.names_of_file(&places.files[index], patience));
        }
        let generated: HashMap<SpaceId, Names> = places
            .generated
            .iter()
            .map(|(&id, addresses)| (id, self.names_of_generated(id, addresses, patience)))
            .collect();

        let blanks = RefCell::new(Blanks::default());
        let name = |frame: &u64, home: &Home, look: u64| {
            let (names, key, module, offset) = match home {
                Home::File(index, offset) => (
                    files[*index].as_ref(),
                    offset.wrapping_sub(frame - look),
                    places.files[*index].name.clone(),
                    *offset,
                ),
                Home::Memory(id, name) => (generated.get(id), look, name.clone(), *frame),
                Home::Kernel(name, offset) => (None, 0, name.clone(), *offset),
                Home::Nowhere => (None, 0, String::new(), *frame),
            };
            if let Some(Err(failure)) = names {
                blanks.borrow_mut().failed(*failure, &module);
            }
            let function = names.and_then(|names| names.as_ref().ok()?.get(&key).cloned()).unwrap_or_default();
            UserFrame { function, module, offset }
        };
        let named = stacks
            .iter()
            .zip(&places.homes)
            .map(|(stack, homes)| {
                if let Some(blank) = self.blank(stack) {
                    blanks.borrow_mut().blank(blank, stack);
                }
                let mut frames: Vec<_> = stack
                    .frames
                    .iter()
                    .zip(homes)
                    .enumerate()
                    .map(|(index, (frame, home))| name(frame, home, looked_up(index, *frame)))
                    .collect();
                let end = self.goes_astray(stack, homes);
                frames.truncate(end.unwrap_or(frames.len()));
                UserStack { cut: cut::reason(&frames, end.is_some()), frames }
            })
            .collect();
        blanks.into_inner().tell(named)
    }

    /// Why nothing is known of the code that waits. (While a process replaces its program, it still has
    /// the registers of the old one.)
    fn blank(&self, stack: &RawStack) -> Option<Blank> {
        self.spaces.find(space_of(stack), *stack.frames.first()?).err()
    }

    /// The first frame that is no code of a process whose code is known: from there on, what was taken
    /// for frame pointers were none.
    fn goes_astray(&self, stack: &RawStack, homes: &[Home]) -> Option<usize> {
        self.blank(stack).is_none().then_some(())?;
        homes.iter().position(|home| matches!(home, Home::Nowhere)).filter(|&index| index > 0)
    }

    fn names_of_file(&self, wanted: &Wanted, patience: &mut Patience) -> Names {
        let Some(ways) = wanted.ways.clone() else { return Err(Failure::Remote) };
        let offsets: Vec<u64> = wanted.offsets.iter().copied().collect();
        let read = patience.wait(FILE_LIMIT, self.deadline, move || {
            let names = elf::resolve(&ways.open()?, &offsets)?;
            anyhow::Ok(offsets.into_iter().zip(names).filter_map(|(at, name)| Some((at, name?))).collect())
        });
        let names = read.map_err(|_| Failure::Late)?;
        names.map_err(|error| {
            log::debug!("no names from {}: {error:#}", wanted.name.escape_debug());
            Failure::Unreadable
        })
    }

    fn names_of_generated(&self, id: SpaceId, addresses: &BTreeSet<u64>, patience: &mut Patience) -> Names {
        let addresses: Vec<u64> = addresses.iter().copied().collect();
        let Some(snapshot) = addresses.first().and_then(|&address| self.spaces.find(id, address).ok()) else {
            return Err(Failure::Unreadable);
        };
        let Snapshot { own_pid, uid, file_systems, .. } = snapshot.0;
        let path = self.proc.join(format!("{}/root/tmp/perf-{own_pid}.map", id.0));
        let (uid, file_systems) = (*uid, file_systems.clone());
        let read = patience.wait(FILE_LIMIT, self.deadline, move || {
            let mut text = Vec::new();
            let file = module::open_perf_map(&path, uid, &file_systems, MAX_PERF_MAP_BYTES)?;
            file.take(MAX_PERF_MAP_BYTES).read_to_end(&mut text)?;
            let names = perf_map::resolve(&text, &addresses);
            anyhow::Ok(addresses.into_iter().zip(names).filter_map(|(at, name)| Some((at, name?))).collect())
        });
        // Most runtimes write no such file, which is no failure.
        Ok(read.map_err(|_| Failure::Late)?.unwrap_or_default())
    }
}

/// Where every frame of every stack is.
struct Places {
    homes: Vec<Vec<Home>>,
    files: Vec<Wanted>,
    generated: HashMap<SpaceId, BTreeSet<u64>>,
}

impl Places {
    fn of(resolver: &Resolver<'_>, stacks: &[RawStack]) -> Self {
        let mut places = Self { homes: Vec::new(), files: Vec::new(), generated: HashMap::new() };
        let mut index = HashMap::new();
        for stack in stacks {
            let homes = stack.frames.iter().enumerate();
            let homes = homes.map(|(depth, &frame)| places.home(resolver, &mut index, stack, depth, frame)).collect();
            places.homes.push(homes);
        }
        places
    }

    fn home(
        &mut self,
        resolver: &Resolver<'_>,
        index: &mut HashMap<FileId, usize>,
        stack: &RawStack,
        depth: usize,
        frame: u64,
    ) -> Home {
        let look = looked_up(depth, frame);
        let id = space_of(stack);
        let Ok((snapshot, mapping)) = resolver.spaces.find(id, look) else { return Home::Nowhere };
        let name = mapping.path.to_string_lossy();
        if mapping.is_file() {
            let file = (mapping.device, mapping.inode, mapping.path.clone());
            let number = *index.entry(file).or_insert_with(|| {
                let ways = Ways::to(resolver.proc, stack.pid, snapshot, mapping);
                self.files.push(Wanted { name: name.into_owned(), ways, offsets: BTreeSet::new() });
                self.files.len() - 1
            });
            let offset = (look - mapping.start).wrapping_add(mapping.offset);
            self.files[number].offsets.insert(offset);
            return Home::File(number, offset.wrapping_add(frame - look));
        }
        if name.starts_with("[v") {
            return Home::Kernel(name.into_owned(), frame - mapping.start);
        }
        self.generated.entry(id).or_default().insert(look);
        Home::Memory(id, name.into_owned())
    }
}

fn space_of(stack: &RawStack) -> SpaceId {
    (stack.pid, stack.address_space)
}

/// The address to look a frame up by. A return address may lie behind the end of the function that
/// called, if the call does not return; the byte before it is part of the call.
fn looked_up(depth: usize, frame: u64) -> u64 {
    if depth == 0 { frame } else { frame.saturating_sub(1) }
}

/// A stack whose frames are just addresses.
pub(super) fn without_names(stack: &RawStack) -> UserStack {
    let frames: Vec<_> = stack.frames.iter().map(|&offset| UserFrame { offset, ..UserFrame::default() }).collect();
    UserStack { cut: cut::reason(&frames, false), frames }
}

/// The loss of so many names, if any.
pub(super) fn unresolved(frames: u64) -> Option<Loss> {
    (frames > 0).then(|| Loss {
        what: Loss::UNRESOLVED_USER_FRAMES.to_owned(),
        count: frames,
        meaning:
            "frames of user stacks without a name, because a process or a disk did not answer in time, or because \
                  there were too many processes: they are shown as addresses"
                .to_owned(),
    })
}

/// What has no names, and why.
#[derive(Default)]
struct Blanks {
    ended: HashSet<SpaceId>,
    refused: HashSet<SpaceId>,
    remote: HashSet<String>,
    unreadable: HashSet<String>,
    lost_frames: u64,
}

impl Blanks {
    fn failed(&mut self, failure: Failure, module: &str) {
        match failure {
            Failure::Remote => drop(self.remote.insert(module.to_owned())),
            Failure::Unreadable => drop(self.unreadable.insert(module.to_owned())),
            Failure::Late => self.lost_frames += 1,
        }
    }

    fn blank(&mut self, blank: Blank, stack: &RawStack) {
        match blank {
            Blank::Ended => drop(self.ended.insert(space_of(stack))),
            Blank::Refused => drop(self.refused.insert(space_of(stack))),
            Blank::Late | Blank::TooMany => self.lost_frames += stack.frames.len() as u64,
        }
    }

    fn tell(self, stacks: Vec<UserStack>) -> Resolved {
        let mut notes = Vec::new();
        if !self.ended.is_empty() {
            notes.push(format!(
                "no names for {} processes that ended or became another program before they were looked at",
                self.ended.len()
            ));
        }
        if !self.refused.is_empty() {
            notes.push(format!("no names for {} processes of other users: that needs root", self.refused.len()));
        }
        if !self.remote.is_empty() {
            notes.push(format!("no names from {}, which may be on a server: not opened", list(&self.remote)));
        }
        if !self.unreadable.is_empty() {
            notes.push(format!("no names from {}, which could not be read", list(&self.unreadable)));
        }
        Resolved { stacks, notes, losses: unresolved(self.lost_frames).into_iter().collect() }
    }
}

/// The first few of them.
fn list(modules: &HashSet<String>) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<_> = modules.iter().map(String::as_str).collect();
    names.sort_unstable();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
