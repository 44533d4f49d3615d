//! The ceiling of sign-ins: the default password hash and nothing around it. `hash THREADS SECONDS`
//! prints how many a second that many threads compute, each in memory that it keeps.

use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

/// What `passwordHash` is by default.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<u64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[threads, seconds] = words.as_slice() else { return Err("usage: hash THREADS SECONDS".into()) };
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32))?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let counting: Vec<_> = (0..threads)
        .map(|_| {
            let params = params.clone();
            thread::spawn(move || -> Result<u32, argon2::Error> {
                let mut blocks = vec![Block::new(); params.block_count()];
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let mut key = [0; 32];
                let mut count = 0;
                while Instant::now() < until {
                    hasher.hash_password_into_with_memory(b"correct horse battery", &[7; 16], &mut key, &mut blocks)?;
                    count += 1;
                }
                Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for thread in counting {
        count += thread.join().map_err(|_| "a thread panicked")??;
    }
    println!("{{\"perSecond\":{:.1}}}", f64::from(count) / begun.elapsed().as_secs_f64());
    Ok(())
}
