//! Running other programs on this machine, with errors that say what failed and what it printed.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Error, Result, anyhow, bail};

/// How many of a failed program's last lines an error repeats.
const TAIL: usize = 15;

/// Whether this process may do what only root may do here.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Where `program` is, looking in `PATH` and in the folders for system programs.
///
/// An ordinary user's `PATH` often leaves out `/usr/sbin`, where `mmdebstrap`'s helpers and `depmod` live.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command for `program`, found where [`find`] looks.
#[must_use]
pub fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// A command that needs root: as it is for root, else through `sudo`.
pub fn privileged(program: &str) -> Result<Command> {
    privileged_with(&[], program)
}

/// The same with variables in its environment, of which sudo would hand none on.
pub fn privileged_with(variables: &[(&str, &str)], program: &str) -> Result<Command> {
    if is_root() {
        let mut command = command(program);
        command.envs(variables.iter().copied());
        return Ok(command);
    }
    let Some(sudo) = find("sudo") else {
        bail!("{program} has to run as root, and this machine has no sudo");
    };
    let mut command = Command::new(sudo);
    command.arg("env").args(variables.iter().map(|(name, value)| format!("{name}={value}"))).arg(program);
    Ok(command)
}

/// An error that says what to do about it, after the reason: the last line is what a person acts on.
#[must_use]
pub fn with_remedy(error: &Error, remedy: &str) -> Error {
    anyhow!("{error:#}\n{remedy}")
}

/// Runs a command to its end; its output appears only in the error.
pub fn run(command: &mut Command) -> Result<()> {
    finished(command).map(drop)
}

/// Runs a command and returns what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = finished(command)?;
    String::from_utf8(output.stdout).with_context(|| format!("{} printed bytes that are no text", line(command)))
}

fn finished(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        let name = command.get_program().to_string_lossy().into_owned();
        match error.kind() {
            ErrorKind::NotFound => anyhow!("{name} is not installed"),
            _ => anyhow!("{name} did not start: {error}"),
        }
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    bail!("`{}` failed ({}):\n{}", line(command), output.status, tail(&printed, TAIL))
}

/// The command as one would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as the shell reads it back unchanged.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The last `count` lines of `text`, blank ones left out.
#[must_use]
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quote("vers=4.2"), "vers=4.2");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        let echoed = output(Command::new("sh").args(["-c", &format!("printf %s {}", quote("a 'b' \"c\" \\"))]));
        assert_eq!(echoed.unwrap(), "a 'b' \"c\" \\");
    }

    #[test]
    fn a_failure_shows_the_command_and_its_last_words() {
        let error = run(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.ends_with("one\ntwo"), "{text}");
        let missing = run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert_eq!(missing, "no-such-program-here is not installed");
    }

    #[test]
    fn the_tail_skips_blank_lines() {
        assert_eq!(tail("a\n\nb\r\n\nc\n", 2), "b\nc");
        assert_eq!(tail("", 5), "");
    }
}
