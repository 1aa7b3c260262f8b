//! Clients that send garbage.

use simurgh::Limits;
use simurgh::testing::Random;
use simurgh::testing::raw::{Raw, get, header, masked, upgrade};

use crate::calm::CROWDED;
use crate::scene::{Scene, in_threads, play};

/// Whatever he sends, the server answers or hangs up; when he ends his side, it ends the other.
#[test]
fn garbage_instead_of_a_request_harms_nobody_else() {
    play(&limits(), |scene, random| {
        in_threads(random, |random| {
            for _ in 0..CLIENTS {
                let mut raw = Raw::connect(scene.addr(random));
                let bytes = no_request(random);
                if raw.try_send(&bytes).is_ok() {
                    finish(raw);
                }
            }
        });
    });
}

#[test]
fn garbage_instead_of_messages_harms_nobody_else() {
    play(&limits(), |scene, random| {
        in_threads(random, |random| {
            for _ in 0..CLIENTS {
                let mut raw = member(scene, random);
                let pieces = 1 + random.below(10);
                if (0..pieces).all(|_| raw.try_send(&no_message(random)).is_ok()) {
                    finish(raw);
                }
            }
        });
    });
}

/// They begin messages and never end them: one huge frame of which little comes, or little
/// fragments without a last one. Past the limits they are closed, whatever they still send.
#[test]
fn messages_that_never_end_harm_nobody_else() {
    play(&limits(), |scene, random| {
        in_threads(random, |random| {
            for _ in 0..CLIENTS / 5 {
                let mut raw = member(scene, random);
                if random.chance(50) {
                    let length = (16 << 10) + 1 + (random.next() >> random.below(40) >> 17);
                    if raw.try_send(&header(0x82, length)).is_ok() {
                        let _ = raw.try_send(&random.bytes(1_000));
                    }
                } else {
                    let mut opcode = 1;
                    let fragment = vec![b'x'; 100 + random.below(4 << 10)];
                    // Far more than a message may have.
                    let count = (256 << 10) / fragment.len();
                    for _ in 0..count {
                        if raw.try_send(&masked(opcode, &fragment)).is_err() {
                            break;
                        }
                        opcode = 0;
                    }
                }
                // Nothing but the server ends it.
                raw.drain();
            }
        });
    });
}

/// A client that is in the room of the calm, and may have read that it is.
fn member(scene: &Scene, random: &mut Random) -> Raw {
    let mut raw = Raw::open(scene.addr(random));
    raw.send_text(&format!(r#"["1","1","{CROWDED}","phx_join",{{}}]"#));
    if random.chance(50) {
        raw.frame();
    }
    raw
}

/// Ends this side, and reads what comes until the server ends the other.
fn finish(mut raw: Raw) {
    // It may have hung up already.
    if raw.try_shut_down().is_ok() {
        raw.drain();
    }
}

fn no_request(random: &mut Random) -> Vec<u8> {
    let good = upgrade("/socket/websocket?vsn=2.0.0").into_bytes();
    match random.below(5) {
        0 => {
            let count = random.below(8 << 10);
            random.bytes(count)
        }
        1 => spoilt(good, random),
        2 => {
            // More headers than a head may have bytes, or just so many.
            let headers = vec!["x-many: and more"; random.below(400)];
            get("/", &headers).into_bytes()
        }
        3 => spoilt(get("/", &[]).repeat(1 + random.below(50)).into_bytes(), random),
        _ => {
            // Frames without waiting for the answer.
            let early = spoilt(masked(0x81, br#"[null,"1","phoenix","heartbeat",{}]"#), random);
            [good, early].concat()
        }
    }
}

fn no_message(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => {
            let count = 1 + random.below(2_000);
            random.bytes(count)
        }
        // Any opcode, with any of the reserved bits.
        1 => {
            let (first, count) = (random.next() as u8, random.below(300));
            masked(first, &random.bytes(count))
        }
        2 => {
            let text = *random.pick(&MESSAGES).expect("there are some");
            masked(0x81, &spoilt(text.replace("ROOM", CROWDED).into_bytes(), random))
        }
        3 => {
            // A push with binary fields: sizes first, then what they are the sizes of.
            let mut push = vec![0, 1, 1, CROWDED.len() as u8, 3];
            push.extend(format!("12{CROWDED}say").bytes());
            push.extend(random.bytes(20));
            masked(0x82, &spoilt(push, random))
        }
        4 => {
            let (open, close) = if random.chance(50) { ("[", "]") } else { (r#"{"a":"#, "}") };
            let depth = random.below(300);
            let nested = [&open.repeat(depth), "1", &close.repeat(depth)].concat();
            let text = format!(r#"["1","2","{CROWDED}","say",{{"deep":{nested}}}]"#);
            masked(0x81, text.as_bytes())
        }
        // No mask.
        _ => vec![0x81, 2, b'h', b'i'],
    }
}

/// With some bytes changed, put in, taken out or repeated; or, now and then, as it was.
fn spoilt(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.below(5) {
        let place = random.below(bytes.len().max(1));
        let odd = *random.pick(ODD).expect("there are some");
        match random.below(6) {
            0 if place < bytes.len() => bytes[place] = odd,
            1 if place < bytes.len() => bytes[place] = random.next() as u8,
            2 if place < bytes.len() => drop(bytes.remove(place)),
            3 => bytes.truncate(place),
            4 => bytes.extend_from_within(place..),
            _ => bytes.insert(place, odd),
        }
    }
    bytes
}

/// Enough for what the calm say, and soon reached.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_frame_size, limits.max_message_size) = (16 << 10, 16 << 10);
    limits.max_head_size = 4 << 10;
    limits
}

/// What is spoilt; each would be understood.
const MESSAGES: [&str; 7] = [
    r#"["1","2","ROOM","say",{"text":"all is well"}]"#,
    r#"["1","2","ROOM","echo",{"text":"\u00e9\ud83d\ude00 \"quoted\"","n":-1.5e3}]"#,
    r#"[null,"2","phoenix","heartbeat",{}]"#,
    r#"["1","2","ROOM","phx_leave",{}]"#,
    r#"["2","2","ROOM","phx_join",{"join":"wait"}]"#,
    r#"["3","3","room:other","phx_join",{"join":"refuse"}]"#,
    r#"["1","2","ROOM","phx_close",{}]"#,
];

/// Bytes that mean something somewhere.
const ODD: &[u8] = b"[]{}\",:\\ \r\n\0\x7f\x80\xc0\xff0-eu";

/// Of each thread, in each scene.
const CLIENTS: usize = 150;
