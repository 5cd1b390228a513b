//! Does the work of small file tools by Rust's standard library alone, for the
//! tests of guests: it is built as it is for WASI and natively, and both have to
//! do and say the same.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::{env, process};

/// What the adapter to WASI 0.2 takes its memory by. Without, it would take pages
/// that Rust's allocator believes to be its own.
#[cfg(target_family = "wasm")]
#[no_mangle]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    use std::alloc::{alloc, realloc, Layout};
    let p = if old_size == 0 {
        alloc(Layout::from_size_align_unchecked(size, align))
    } else {
        realloc(old, Layout::from_size_align_unchecked(old_size, align), size)
    };
    if p.is_null() {
        process::abort()
    }
    p
}

/// hash is FNV-1a of a file's bytes.
fn hash(path: &Path) -> io::Result<u64> {
    let (mut sum, mut buf, mut f) = (0xcbf29ce484222325u64, vec![0; 10_000], File::open(path)?);
    loop {
        let n = f.read(&mut buf)?;
        if n == 0 {
            return Ok(sum);
        }
        for b in &buf[..n] {
            sum = (sum ^ u64::from(*b)).wrapping_mul(0x100000001b3);
        }
    }
}

/// digest prints what is below dir, in order.
fn digest(dir: &Path, out: &mut impl Write) -> io::Result<u64> {
    let mut entries = BTreeMap::new();
    for e in fs::read_dir(dir)? {
        let e = e?;
        entries.insert(e.file_name(), e.file_type()?);
    }
    let mut files = 0;
    for (name, kind) in entries {
        let path = dir.join(name);
        if kind.is_dir() {
            writeln!(out, "{}/", path.display())?;
            files += digest(&path, out)?;
        } else if kind.is_symlink() {
            writeln!(out, "{} -> {}", path.display(), fs::read_link(&path)?.display())?;
        } else {
            writeln!(out, "{} {} {:016x}", path.display(), fs::metadata(&path)?.len(), hash(&path)?)?;
            files += 1;
        }
    }
    Ok(files)
}

/// number copies a text with its lines numbered, by way of a temporary name.
fn number(from: &Path, to: &Path) -> io::Result<()> {
    let tmp = to.with_extension("tmp");
    let mut out = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&tmp)?);
    for (i, line) in BufReader::new(File::open(from)?).lines().enumerate() {
        writeln!(out, "{:4} {}", i + 1, line?)?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(tmp, to)
}

/// patch writes text into the middle of a file and at its end, and cuts the
/// first bytes' copy off again.
fn patch(path: &Path, at: u64, text: &str) -> io::Result<()> {
    let mut f = OpenOptions::new().read(true).write(true).open(path)?;
    let mut first = [0; 8];
    f.read_exact(&mut first)?;
    f.seek(SeekFrom::Start(at))?;
    f.write_all(text.as_bytes())?;
    let end = f.seek(SeekFrom::End(0))?;
    f.write_all(&first)?;
    f.set_len(end)?;
    OpenOptions::new().append(true).open(path)?.write_all(b"appended\n")
}

/// told prints how something went: the kinds of error that the library knows on
/// every system by their names, any other as a failure.
fn told<T>(what: &str, r: io::Result<T>) {
    match r.map_err(|e| e.kind()) {
        Ok(_) => println!("{}: done", what),
        Err(kind @ (ErrorKind::NotFound | ErrorKind::AlreadyExists)) => println!("{}: {:?}", what, kind),
        Err(_) => println!("{}: failed", what),
    }
}

fn job(args: &[String]) -> io::Result<()> {
    let path = |i: usize| Path::new(&args[i]);
    match (args[0].as_str(), args.len()) {
        ("digest", 2) => {
            let mut out = BufWriter::new(io::stdout().lock());
            let files = digest(path(1), &mut out)?;
            writeln!(out, "{} files", files)?;
            out.flush()
        }
        ("number", 3) => number(path(1), path(2)),
        ("patch", 4) => patch(path(1), args[2].parse().expect("an offset"), &args[3]),
        ("copy", 3) => fs::copy(path(1), path(2)).map(|n| println!("{} bytes", n)),
        ("write", 2) => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            fs::write(path(1), text)
        }
        ("errors", 1) => {
            told("open what is not there", File::open("none"));
            told("make what is there", OpenOptions::new().write(true).create_new(true).open("src/text"));
            told("a directory there", fs::create_dir("src"));
            told("list a file", fs::read_dir("src/text").map(|_| ()));
            told("remove a full directory", fs::remove_dir("src"));
            told("remove a directory as a file", fs::remove_file("src"));
            told("make", fs::create_dir_all("deep/er/and/deeper"));
            told("link", fs::hard_link("src/text", "deep/link"));
            told("move", fs::rename("deep/er", "deep/moved"));
            told("remove", fs::remove_dir_all("deep/moved"));
            Ok(())
        }
        _ => {
            eprintln!("what is {:?}?", args);
            process::exit(1)
        }
    }
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.is_empty() {
        panic!("nothing to do");
    }
    if let Err(e) = job(&args) {
        eprintln!("{:?}", e);
        process::exit(1);
    }
}
