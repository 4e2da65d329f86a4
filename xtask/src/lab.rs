//! `cargo xtask lab`: a command on one of the lab's kernels, by hand.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nfslat_lab::{Lab, SOURCES, host, setup, source};

use crate::{build, show};

/// Programs of the workspace that a guest gets when they are built.
const PROGRAMS: [&str; 2] = ["nfslat", "nfslat-workload"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which kernel: 5.10, 6.1, 6.12 or newest
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// List the kernels, and which of them are ready
    #[arg(long)]
    list: bool,
    /// Processors of the guest
    #[arg(long, default_value_t = 2)]
    smp: usize,
    /// Memory of the guest
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    mem: usize,
    /// Bring a file or folder along; may be given several times
    #[arg(long = "file", value_name = "HOST:GUEST")]
    files: Vec<String>,
    /// Serve NFS in the guest and mount it at /mnt/nfs: 3, 4.0, 4.1 or 4.2
    #[arg(long, value_name = "VERSION", value_parser = ["3", "4.0", "4.1", "4.2"])]
    nfs: Option<String>,
    /// Copy what the command leaves in /results into this folder
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// How long the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// The command; a single word with blanks is a line for the shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list || arguments.command.is_empty() {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let Some(kernel) = source(&arguments.kernel) else {
        let known: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
        bail!("the lab has no kernel {}: choose one of {}", arguments.kernel, known.join(", "));
    };
    let wanted = setup::Wanted { kernels: vec![kernel], packages: Vec::new(), refresh: false };
    setup::run(&wanted, &quiet_when_ready)?;

    let lab = Lab::open()?;
    let mut guest = lab.guest(&lab.kernel(kernel.name)?).smp(arguments.smp).mem_mib(arguments.mem);
    guest = guest.timeout(Duration::from_secs(arguments.timeout));
    for name in PROGRAMS {
        let program = build::program(name)?;
        if program.is_file() {
            guest = guest.file(program, &format!("/usr/local/bin/{name}"));
        }
    }
    for pair in &arguments.files {
        let Some((host, guest_path)) = pair.rsplit_once(':') else {
            bail!("--file {pair}: write it as HOST:GUEST, such as ./notes.txt:/root/notes.txt");
        };
        guest = guest.file(host, guest_path);
    }
    let guest = guest.on_wait(|| show::step("waiting", "until other guests leave processors free"));
    let result = guest.on_output(to_terminal).run(&script(arguments))?;
    if let Some(folder) = &arguments.results {
        copy(&result.results(), folder)?;
        show::step("results", &folder.display().to_string());
    }
    Ok(ExitCode::from(u8::try_from(result.code).unwrap_or(1)))
}

fn list() {
    let kernels = Lab::open().map(|lab| lab.kernels()).unwrap_or_default();
    for source in &SOURCES {
        let state = match kernels.iter().find(|kernel| kernel.name == source.name) {
            Some(kernel) => kernel.release.as_str(),
            None => "not unpacked yet: cargo xtask setup",
        };
        println!("{:<8} {state}", source.name);
    }
}

/// Says only what took time: a command's output should not drown in lines about what was there already.
fn quiet_when_ready(step: setup::Step<'_>) {
    if step.changed {
        show::step(step.what, step.outcome);
    }
}

fn script(arguments: &Arguments) -> String {
    let mut script = String::new();
    if let Some(version) = &arguments.nfs {
        script.push_str(&format!("nfs_serve; nfs_mount {version} /mnt/nfs\n"));
    }
    match arguments.command.as_slice() {
        [line] => script.push_str(line),
        words => script.push_str(&words.iter().map(|word| host::quote(word)).collect::<Vec<_>>().join(" ")),
    }
    script
}

fn to_terminal(bytes: &[u8]) {
    let mut terminal = io::stdout().lock();
    // Nobody may be reading any more; the guest still has to run to its end.
    let _ = terminal.write_all(bytes).and_then(|()| terminal.flush());
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    host::run(host::command("cp").arg("-a").arg(from.join(".")).arg(to))
}
