//! Loads a server over keep-alive connections and checks every answer.
//!
//! `load PORT CONNECTIONS SECONDS FILE [SECOND_CONNECTIONS SECOND_FILE]`: each line of a file is JSON,
//! `{"request": "GET …\r\n\r\n", "expect": "text that the answer has"}`; every connection plays lines by
//! chance, one after the other. A request may have `@@@@@@@@@@@@`: a number that nobody else has takes its
//! place. A second file is played beside the first, for mixed loads. Prints one line of JSON for each file,
//! with the share of a core that this program took: near 1 it is what was measured. So it does little work:
//! no HTTP library, no allocation for each answer.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Line {
    request: Vec<u8>,
    expect: Vec<u8>,
    /// Where the number goes.
    number: Option<usize>,
}

const NUMBER: &[u8] = b"@@@@@@@@@@@@";

/// Latencies in microseconds and what was not as it should be.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    wrong: u64,
    busy: u64,
}

fn read(file: &str) -> Outcome<Arc<Vec<Line>>> {
    let mut lines = Vec::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let json: serde_json::Value = serde_json::from_str(line)?;
        let text = |key: &str| {
            json[key].as_str().map(|text| text.as_bytes().to_vec()).ok_or("a line without a text")
        };
        let request = text("request")?;
        lines.push(Line { number: find(&request, NUMBER), request, expect: text("expect")? });
    }
    if lines.is_empty() { Err("nothing to ask".into()) } else { Ok(Arc::new(lines)) }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Reads one answer into the buffer: its length, and where the body begins.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<usize> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server has closed the connection".into());
        }
        let Some(head) = find(buffer, b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?;
        let value = |wanted: &str| {
            let mut headers = text.lines().filter_map(|line| line.split_once(':'));
            headers.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()))
        };
        let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
        let chunked = value("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
        if length.is_none() && !chunked {
            return Err("an answer of unknown length".into());
        }
        // One answer at a time is on the connection, so what ends like the last chunk ends there.
        let whole = |buffer: &[u8]| match length {
            Some(length) => buffer.len() >= head + 4 + length,
            None => buffer.ends_with(b"0\r\n\r\n"),
        };
        while !whole(buffer) {
            if stream.read_buf(buffer).await? == 0 {
                return Err("the server has closed the connection".into());
            }
        }
        return Ok(head + 4);
    }
}

/// Seconds of processor time so far; the clock ticks a hundred times a second on Linux.
fn processor_time() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

async fn connection(port: u16, lines: Arc<Vec<Line>>, mut chance: u64, until: Instant) -> Outcome<Seen> {
    static USED: AtomicU64 = AtomicU64::new(0);
    let mut numbered = Vec::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    let mut seen = Seen::default();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(seen);
        }
        // xorshift64: which line is next.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let line = &lines[(chance % lines.len() as u64) as usize];
        let request = match line.number {
            None => &line.request,
            Some(at) => {
                // Microseconds of the clock to begin with: no two runs share a number.
                let now =
                    || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64);
                let _ =
                    USED.compare_exchange(0, now() % 1_000_000_000_000, Ordering::Relaxed, Ordering::Relaxed);
                numbered.clone_from(&line.request);
                let number = format!("{:012}", USED.fetch_add(1, Ordering::Relaxed));
                numbered[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
                &numbered
            }
        };
        stream.write_all(request).await?;
        let body = answer(&mut stream, &mut buffer).await?;
        seen.micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        if buffer.starts_with(b"HTTP/1.1 503") {
            seen.busy += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else if !buffer.starts_with(b"HTTP/1.1 200") || find(&buffer[body..], &line.expect).is_none() {
            seen.wrong += 1;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word =
        |at: usize| words.get(at).ok_or("usage: load PORT CONNECTIONS SECONDS FILE [CONNECTIONS FILE]");
    let port = word(0)?.parse()?;
    let seconds: f64 = word(2)?.parse()?;
    let mut parts = vec![(word(1)?.parse::<u64>()?, read(word(3)?)?)];
    if words.len() > 4 {
        parts.push((word(4)?.parse()?, read(word(5)?)?));
    }
    let before = processor_time()?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tasks = JoinSet::new();
    for (part, (connections, lines)) in parts.iter().enumerate() {
        for number in 0..*connections {
            let chance = 0x9e37_79b9_7f4a_7c15 ^ (number + 1) << 32 ^ (part as u64 + 1);
            let (lines, part) = (Arc::clone(lines), part);
            tasks.spawn(async move { (part, connection(port, lines, chance, until).await) });
        }
    }
    let mut all: Vec<Seen> = parts.iter().map(|_| Seen::default()).collect();
    while let Some(done) = tasks.join_next().await {
        let (part, seen) = done?;
        let seen = seen?;
        let of = &mut all[part];
        of.micros.extend(seen.micros);
        of.wrong += seen.wrong;
        of.busy += seen.busy;
    }
    let processor = (processor_time()? - before) / seconds;
    for mut seen in all {
        seen.micros.sort_unstable();
        let at =
            |share: f64| seen.micros.get((seen.micros.len() as f64 * share) as usize).copied().unwrap_or(0);
        println!(
            "{}",
            serde_json::json!({
                "perSecond": (seen.micros.len() as f64 - seen.busy as f64) / seconds,
                "p50": at(0.5), "p99": at(0.99), "wrong": seen.wrong, "busy": seen.busy,
                "generator": processor,
            })
        );
    }
    Ok(())
}
