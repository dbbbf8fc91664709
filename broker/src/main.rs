//! The command `sol`: a broker until it is told to stop.

mod ctl;
mod importing;
mod manual;
mod passwd;
mod process;
mod stored;

use std::process::ExitCode;

use clap::Parser;

use process::{Arguments, Command, Failure, Source, Starter};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Ctl(arguments)) => return ctl::run(arguments),
        Some(Command::Passwd(arguments)) => return passwd::run(arguments),
        Some(Command::Store(arguments)) => return stored::run(arguments),
        Some(Command::ImportMosquitto(arguments)) => return importing::run(arguments),
        Some(Command::Completions(arguments)) => return manual::complete(arguments),
        Some(Command::Man(arguments)) => return manual::write(arguments),
        None => {}
    }
    let source = Source::new(&arguments);
    let settings = match source.read_and_check() {
        Ok(settings) => settings,
        Err(problems) => return Failure::Configuration(problems).tell().into(),
    };
    if arguments.test_config {
        settings.warnings().iter().for_each(|warning| eprintln!("{warning}"));
        println!("ok");
        return ExitCode::SUCCESS;
    }
    // Before there is anything that a new process would lack, threads above all.
    let starter = if arguments.daemon { Starter::detach() } else { Ok(Starter::foreground()) };
    match starter {
        Ok(mut starter) => match process::run(&source, settings, &mut starter) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => starter.failed(failure.tell()),
        },
        Err(error) => Failure::run("cannot go to the background", error).tell().into(),
    }
}
