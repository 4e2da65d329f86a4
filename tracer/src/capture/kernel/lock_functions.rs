//! The functions that wait for sleeping locks, for kernels without `lock:contention_begin` (before 5.19).

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::kallsyms;

/// A function of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its symbol, with the suffix that the compiler may have added.
    pub(crate) symbol: String,
    /// Where it begins.
    pub(crate) start: u64,
    /// Length in bytes, padding included.
    pub(crate) length: u64,
}

/// The functions; `None` for one that the kernel does not have, or has several copies of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LockFunctions {
    /// Waits for an rwsem, to read.
    pub(crate) read: Option<Function>,
    /// The same, to write.
    pub(crate) write: Option<Function>,
    /// Waits for a mutex.
    pub(crate) mutex: Option<Function>,
}

impl LockFunctions {
    /// Their names (`kernel/locking/rwsem.c` and `kernel/locking/mutex.c`, 5.10 to 5.18; PREEMPT_RT has others).
    const NAMES: [&str; 3] = ["rwsem_down_read_slowpath", "rwsem_down_write_slowpath", "__mutex_lock"];

    /// Looks them up. `proc`: the root of `/proc`.
    ///
    /// # Errors
    /// If the kernel's symbols cannot be read.
    pub(crate) fn read(proc: &Path) -> Result<Self> {
        File::open(proc.join("kallsyms"))
            .map_err(Into::into)
            .and_then(Self::find)
            .context("cannot read the kernel's symbols")
    }

    fn find(symbols: impl Read) -> Result<Self> {
        let mut found = Self::NAMES.map(|_| Vec::<Function>::new());
        let mut reader = BufReader::with_capacity(1 << 16, symbols);
        let mut line = String::new();
        loop {
            line.clear();
            // Those of modules, which have the module's name in brackets, come last.
            if reader.read_line(&mut line)? == 0 || line.contains('[') {
                break;
            }
            let Some((start, symbol)) = kallsyms::parse(&line) else { continue };
            // The kernel's own are sorted: a function ends where the next one begins.
            for function in found.iter_mut().flatten() {
                if function.length == 0 && start > function.start {
                    function.length = start - function.start;
                }
            }
            for (name, found) in Self::NAMES.iter().zip(&mut found) {
                if is_copy_of(symbol, name) {
                    found.push(Function { symbol: symbol.to_owned(), start, length: 0 });
                }
            }
        }
        let [read, write, mutex] = found.map(only);
        Ok(Self { read, write, mutex })
    }

    /// All that there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Function> {
        [&self.read, &self.write, &self.mutex].into_iter().flatten()
    }
}

/// The one function, if its length is known. Of several copies one alone would miss waits.
fn only(mut found: Vec<Function>) -> Option<Function> {
    if found.len() > 1 { None } else { found.pop().filter(|function| function.length > 0) }
}

/// True for the function itself and for what the compiler makes of it by leaving out parameters after the first
/// (`.isra.0`, `.constprop.0`): the lock stays the first, since the function needs its address. Not for a part of it.
fn is_copy_of(symbol: &str, name: &str) -> bool {
    let Some(suffix) = symbol.strip_prefix(name) else { return false };
    if suffix.is_empty() {
        return true;
    }
    let Some(suffix) = suffix.strip_prefix('.') else { return false };
    let words: Vec<_> = suffix.split('.').collect();
    words.chunks(2).all(|pair| match pair {
        [how, number] => matches!(*how, "isra" | "constprop") && number.parse::<u32>().is_ok(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "\
ffffffff81000000 T _text
ffffffff81000100 t __mutex_lock.constprop.0
ffffffff81000100 t an_alias
ffffffff81000480 t __mutex_lock_slowpath
ffffffff81000500 t rwsem_down_read_slowpath
ffffffff81000580 d some_data
ffffffff81000700 t rwsem_down_write_slowpath
ffffffff81000a00 t rwsem_down_write_slowpath.cold
ffffffffc0000000 t __mutex_lock\t[some_module]
";

    fn function(symbol: &str, start: u64, length: u64) -> Function {
        Function { symbol: symbol.into(), start, length }
    }

    #[test]
    fn functions_are_found_with_their_lengths() {
        let found = LockFunctions::find(SYMBOLS.as_bytes()).unwrap();
        assert_eq!(found.mutex.unwrap(), function("__mutex_lock.constprop.0", 0xffff_ffff_8100_0100, 0x380));
        assert_eq!(found.read.unwrap(), function("rwsem_down_read_slowpath", 0xffff_ffff_8100_0500, 0x200));
        assert_eq!(found.write.unwrap(), function("rwsem_down_write_slowpath", 0xffff_ffff_8100_0700, 0x300));
    }

    #[test]
    fn hidden_addresses_and_several_copies_are_no_find() {
        let hidden = "0000000000000000 t rwsem_down_read_slowpath\n0000000000000000 t next\n";
        assert_eq!(LockFunctions::find(hidden.as_bytes()).unwrap(), LockFunctions::default());
        let twice = "ffffffff81000100 t __mutex_lock.constprop.0\nffffffff81000200 t __mutex_lock.isra.0\nffffffff81000300 t next\n";
        assert_eq!(LockFunctions::find(twice.as_bytes()).unwrap(), LockFunctions::default());
    }

    #[test]
    fn only_the_compilers_own_suffixes_are_taken() {
        for symbol in
            ["__mutex_lock", "__mutex_lock.isra.0", "__mutex_lock.constprop.12", "__mutex_lock.isra.0.constprop.0"]
        {
            assert!(is_copy_of(symbol, "__mutex_lock"), "{symbol}");
        }
        for symbol in
            ["__mutex_lock_slowpath", "__mutex_lock.cold", "__mutex_lock.part.0", "__mutex_lock.", "x__mutex_lock"]
        {
            assert!(!is_copy_of(symbol, "__mutex_lock"), "{symbol}");
        }
    }
}
