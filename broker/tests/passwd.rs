//! `sol passwd`: what becomes of a password file.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::running;
use sol::auth::{Table, Verdict, Verification};
use tempfile::TempDir;

struct Passwd {
    directory: TempDir,
    file: PathBuf,
}

impl Passwd {
    fn new(text: &str) -> Self {
        let passwd = Self::missing();
        fs::write(&passwd.file, text).unwrap();
        passwd
    }

    /// Without the file.
    fn missing() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("passwd");
        Self { directory, file }
    }

    /// `{}` in the arguments is the file.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sol"));
        command.arg("passwd").stdin(Stdio::piped());
        for argument in arguments {
            match *argument {
                "{}" => command.arg(&self.file),
                argument => command.arg(argument),
            };
        }
        running(command).input(input)
    }

    /// Gives what it said.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, b"");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It fails, says so, and leaves the file alone.
    fn fails(&self, arguments: &[&str], input: &[u8]) -> String {
        let before = fs::read(&self.file).ok();
        let output = self.run(arguments, input);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        assert_eq!(fs::read(&self.file).ok(), before);
        String::from_utf8(output.stderr).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn mode(&self) -> u32 {
        fs::metadata(&self.file).unwrap().mode() & 0o7777
    }

    fn verdict(&self, user: &str, password: &str) -> Verdict {
        let table = Table::load(&self.file).unwrap();
        Verification::new(table.into(), user, password.as_bytes()).run()
    }

    /// Nothing is left beside the file.
    fn is_alone(&self) -> bool {
        fs::read_dir(self.directory.path()).unwrap().all(|entry| entry.unwrap().path() == self.file)
    }
}

#[test]
fn a_file_of_plain_passwords_is_hashed_in_place() {
    let passwd = Passwd::new("# users\n\nanna:secret\nbert:pass:w örd \r\n  \ncarl:x");
    assert_eq!(passwd.done(&["{}"]), "3 passwords hashed, of 3 users\n");
    let text = passwd.text();
    let lines: Vec<_> = text.split('\n').collect();
    assert_eq!((lines[0], lines[1], lines[4], lines.len()), ("# users", "", "  ", 6), "{text}");
    assert!(lines[2].starts_with("anna:$6$") && lines[3].starts_with("bert:$6$"), "{text}");
    assert!(lines[3].ends_with('\r') && !text.ends_with('\n'), "{text}");
    for (user, password) in [("anna", "secret"), ("bert", "pass:w örd "), ("carl", "x")] {
        assert_eq!(passwd.verdict(user, password), Verdict::Granted, "{user}");
        assert_eq!(passwd.verdict(user, "wrong"), Verdict::WrongPassword);
    }
    assert_eq!(passwd.mode(), 0o600);
    assert!(passwd.is_alone());
}

#[test]
fn what_is_hashed_stays() {
    let hashed = "anna:$7$101$SV0bPSmAwARY8EO9$gUWahGGfIfxCxqXLRXwhVzvjbRYpl5jZwzLH+ijjrAzWh2aoxIfevbk6kYjuekusL6v6r3QYj2LrgfCL5tYF6w==\n";
    let passwd = Passwd::new(&format!("{hashed}bert:plain\n"));
    assert_eq!(passwd.done(&["{}"]), "1 passwords hashed, of 2 users\n");
    let text = passwd.text();
    assert!(text.starts_with(hashed), "{text}");
    let before = fs::metadata(&passwd.file).unwrap().ino();
    assert_eq!(passwd.done(&["{}"]), "0 passwords hashed, of 2 users\n");
    assert_eq!(passwd.text(), text);
    assert_eq!(fs::metadata(&passwd.file).unwrap().ino(), before, "there was nothing to write");
}

#[test]
fn secrets_for_scram_are_made() {
    let passwd = Passwd::new(
        "anna:secret\nbert:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n",
    );
    assert_eq!(passwd.done(&["-H", "scram-sha-256", "{}"]), "1 passwords hashed, of 2 users\n");
    passwd.done(&["-H", "scram-sha-256", "-b", "{}", "carl", "pässwörd"]);
    let text = passwd.text();
    let forms = ["anna:SCRAM-SHA-256$15000:", "bert:$6$", "carl:SCRAM-SHA-256$15000:"];
    assert!(text.lines().zip(forms).all(|(line, form)| line.starts_with(form)), "{text}");
    for (user, password) in [("anna", "secret"), ("bert", "secret"), ("carl", "pässwörd")] {
        assert_eq!(passwd.verdict(user, password), Verdict::Granted, "{user}");
        assert_eq!(passwd.verdict(user, "wrong"), Verdict::WrongPassword);
    }
    // It is hashed.
    assert_eq!(passwd.done(&["{}"]), "0 passwords hashed, of 3 users\n");
    passwd.done(&["-b", "{}", "anna", "other"]);
    assert!(passwd.text().starts_with("anna:$6$"));
    assert!(
        passwd.fails(&["-H", "md5", "-b", "{}", "anna", "x"], b"").contains("sha512-crypt, scram-sha-256")
    );
}

#[test]
fn the_stricter_permissions_hold() {
    for (before, after) in [(0o644, 0o600), (0o640, 0o600), (0o600, 0o600), (0o400, 0o400), (0o444, 0o400)] {
        let passwd = Passwd::new("anna:secret\n");
        for _ in 0..2 {
            fs::set_permissions(&passwd.file, Permissions::from_mode(before)).unwrap();
            passwd.done(&["{}"]);
            assert_eq!(passwd.mode(), after, "{before:o}");
        }
    }
}

#[test]
fn a_symbolic_link_stays_one() {
    let passwd = Passwd::new("anna:secret\n");
    let link = passwd.directory.path().join("link");
    symlink("passwd", &link).unwrap();
    passwd.done(&[link.to_str().unwrap()]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(passwd.verdict("anna", "secret"), Verdict::Granted);
}

#[test]
fn users_are_added_changed_and_deleted() {
    let passwd = Passwd::missing();
    assert!(passwd.fails(&["-b", "{}", "anna", "secret"], b"").contains("no such file: -c makes it"));
    assert_eq!(passwd.done(&["-c", "-b", "{}", "anna", "secret"]), "\"anna\" is added\n");
    assert_eq!(passwd.mode(), 0o600);
    assert!(passwd.fails(&["-c", "-b", "{}", "bert", "other"], b"").contains("is there already"));
    assert_eq!(passwd.done(&["-b", "{}", "bert", "other"]), "\"bert\" is added\n");
    assert_eq!(passwd.done(&["-b", "{}", "anna", "changed"]), "\"anna\" has another password\n");
    for (user, password) in [("anna", "changed"), ("bert", "other")] {
        assert_eq!(passwd.verdict(user, password), Verdict::Granted, "{user}");
    }
    assert_eq!(passwd.text().lines().count(), 2);
    assert_eq!(passwd.done(&["-D", "{}", "anna"]), "\"anna\" is deleted\n");
    assert_eq!(passwd.verdict("anna", "changed"), Verdict::UnknownUser);
    assert_eq!(passwd.verdict("bert", "other"), Verdict::Granted);
    assert!(passwd.fails(&["-D", "{}", "anna"], b"").contains("there is no user \"anna\""));
    assert!(passwd.is_alone());
}

#[test]
fn other_lines_stay_when_a_user_changes() {
    let passwd = Passwd::new("# anna:x\nanna:1\nann:2\nannabel:3\nno colon\nanna:\nbert:4");
    passwd.done(&["-b", "{}", "anna", "secret"]);
    let text = passwd.text();
    let (first, rest) = text.split_once("anna:$6$").unwrap();
    assert_eq!(first, "# anna:x\n");
    assert_eq!(rest.split_once('\n').unwrap().1, "ann:2\nannabel:3\nno colon\nbert:4");
    passwd.done(&["-b", "{}", "carl", "secret"]);
    assert!(passwd.text().contains("bert:4\ncarl:$6$"), "{}", passwd.text());
}

#[test]
fn a_password_comes_from_standard_input_if_nobody_can_be_asked() {
    let passwd = Passwd::new("");
    for (input, password) in
        [(&b"first line\nsecond\n"[..], "first line"), (b"crlf\r\n", "crlf"), (b"end", "end")]
    {
        for arguments in [&["{}", "anna"][..], &["-b", "{}", "anna"]] {
            assert!(passwd.run(arguments, input).status.success());
            assert_eq!(passwd.verdict("anna", password), Verdict::Granted, "{password}");
        }
    }
    for input in [&b""[..], b"\n"] {
        assert!(passwd.fails(&["{}", "anna"], input).contains("must not be empty"));
    }
    for too_long in [512, 513, 514, 100_000] {
        assert!(passwd.fails(&["{}", "anna"], &vec![b'x'; too_long]).contains("longer than 511 bytes"));
    }
    assert!(passwd.run(&["{}", "anna"], &[&[b'x'; 511][..], b"\r\n"].concat()).status.success());
    assert_eq!(passwd.verdict("anna", &"x".repeat(511)), Verdict::Granted);
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let passwd = Passwd::new("anna:secret\nno colon hunter2\nbert:$hunter2\nanna:x\n");
    let path = passwd.file.display().to_string();
    let said = passwd.fails(&["{}"], b"");
    for (line, problem) in
        [(2, "line without a colon"), (3, "password of \"bert\": unknown form"), (4, "user \"anna\" stands")]
    {
        assert!(said.contains(&format!("{path}:{line}: {problem}")), "{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let long = Passwd::new(&format!("# one\nanna:{}\n", "x".repeat(512)));
    assert!(long.fails(&["{}"], b"").contains("passwd:2: password that cannot be hashed"));
    for user in ["", "a:b", "a\nb", "#anna"] {
        assert!(passwd.fails(&["-b", "{}", user, "x"], b"").contains("bad user name"), "{user:?}");
    }
    for arguments in [
        &[][..],
        &["{}", "anna", "password"],
        &["-b", "{}"],
        &["-c", "{}"],
        &["-D", "{}"],
        &["-D", "-b", "{}", "anna"],
    ] {
        assert_eq!(passwd.run(arguments, b"").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn who_reads_the_file_meanwhile_sees_a_whole_one() {
    let text: String = (0..500)
        .map(|n| format!("user{n}:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n"))
        .collect();
    let passwd = Passwd::new(&text);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let users = Table::load(&passwd.file).unwrap().len();
                assert!((500..=510).contains(&users), "{users} users");
            }
        });
        for n in 0..5 {
            // Two at a time: none must undo what the other did.
            thread::scope(|scope| {
                for half in ["a", "b"] {
                    let passwd = &passwd;
                    scope.spawn(move || passwd.done(&["-b", "{}", &format!("{half}{n}"), "x"]));
                }
            });
        }
        over.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert_eq!(Table::load(&passwd.file).unwrap().len(), 510);
    assert!(passwd.is_alone());
}

/// Types at a terminal what it is given, and prints what a terminal shows.
const TERMINAL: &str = r#"
import os, pty, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], ["sol", "passwd", sys.argv[2], "anna"])
shown = b""
for prompt, typed in ((b"Password: ", sys.argv[3]), (b"again: ", sys.argv[4])):
    while not shown.endswith(prompt):
        shown += os.read(terminal, 1000)
    # The prompt comes a moment before the terminal stops to show what is typed.
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        time.sleep(0.001)
    os.write(terminal, typed.encode() + b"\n")
try:
    while more := os.read(terminal, 1000):
        shown += more
except OSError:
    pass
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn a_password_is_asked_for_twice_without_showing_it() {
    if Command::new("python3").arg("-V").output().is_err() {
        let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
        assert!(!is_required, "python3 is not installed");
        std::io::stderr().write_all(b"SKIPPED: python3 is not installed\n").unwrap();
        return;
    }
    let passwd = Passwd::new("");
    let typed = |first: &str, second: &str| {
        let mut command = Command::new("python3");
        command
            .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_sol")])
            .arg(Path::new(&passwd.file))
            .args([first, second]);
        let output = running(command).output();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, shown) = typed("hunter2", "hunter3");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the two passwords are not the same"), "{shown}");
    assert_eq!(passwd.text(), "");
    let (code, shown) = typed("hunter2", "hunter2");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\"anna\" is added") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(passwd.verdict("anna", "hunter2"), Verdict::Granted);
}
