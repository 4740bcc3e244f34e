//! The shard's io_uring under real sockets: bytes, order, limits, errors, closing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as Peer};
use std::sync::mpsc;
use std::time::Duration;

use ninefold_runtime::net::{TcpListener, TcpStream, listen, send_buffer};
use ninefold_runtime::{Config, Handle, Runtime, sleep, spawn_local, timeout};
use support::SECOND;

fn start(shards: usize) -> Runtime {
    Runtime::start(&Config {
        shards: Some(shards),
        ..Config::default()
    })
    .expect("a runtime")
}

/// Listens on shard 0 and runs `serve` for each connection.
fn serve<F: Future<Output = ()> + 'static>(
    handle: &Handle,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || async move {
        let mut listener = TcpListener::from_std(listener).unwrap();
        while let Ok(stream) = listener.accept().await {
            spawn_local(serve(stream)).unwrap();
        }
    };
    handle.spawn_on(0, accept).unwrap();
    address
}

async fn echo(mut stream: TcpStream) {
    while let Ok(Some(bytes)) = stream.receive().await {
        stream.flushed().await.unwrap();
        let mut out = send_buffer();
        out.extend_from_slice(&bytes);
        stream.send(out).unwrap();
    }
    let _ = stream.flushed().await;
}

fn connect(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address).unwrap();
    peer.set_read_timeout(Some(SECOND * 10)).unwrap();
    peer
}

#[test]
fn bytes_come_back_whole_and_in_order() {
    let runtime = start(1);
    let address = serve(&runtime.handle(), echo);
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut peer = connect(address);
    let mut writer = peer.try_clone().unwrap();
    let sent = data.clone();
    let send = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    peer.read_to_end(&mut back).unwrap();
    send.join().unwrap();
    assert!(back == data, "{} of {} bytes", back.len(), data.len());
}

#[test]
fn many_connections_share_the_buffers() {
    let runtime = start(1);
    let address = serve(&runtime.handle(), echo);
    // More unread bytes than the pool holds: some receives must wait for a buffer.
    let mut peers: Vec<Peer> = (0..600).map(|_| connect(address)).collect();
    let message = vec![7; 8192];
    for peer in &mut peers {
        peer.write_all(&message).unwrap();
    }
    for peer in &mut peers {
        let mut back = vec![0; message.len()];
        peer.read_exact(&mut back).unwrap();
        assert!(back == message);
    }
    drop(peers);
    wait_until(|| runtime.handle().stats(0).unwrap().sockets_open.get() == 1);
}

fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 5 s");
}

#[test]
fn a_reader_that_is_behind_pauses_its_peer_and_loses_nothing() {
    let runtime = start(1);
    let (tell, told) = mpsc::channel();
    let address = serve(&runtime.handle(), move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut total = 0_usize;
            sleep(Duration::from_millis(100)).await;
            while let Ok(Some(bytes)) = stream.receive().await {
                assert!(bytes.iter().all(|&b| b == 9));
                total += bytes.len();
                if total.is_multiple_of(5) {
                    sleep(Duration::from_micros(100)).await;
                }
            }
            tell.send(total).unwrap();
        }
    });
    let mut peer = connect(address);
    peer.write_all(&vec![9; 2_000_000]).unwrap();
    drop(peer);
    assert_eq!(told.recv_timeout(SECOND * 10), Ok(2_000_000));
}

#[test]
fn a_reset_peer_is_an_error_or_an_end_and_nothing_leaks() {
    let runtime = start(1);
    let address = serve(&runtime.handle(), echo);
    for _ in 0..200 {
        let mut peer = connect(address);
        peer.write_all(b"half a word").unwrap();
        // Unread bytes at close make the kernel send a reset.
        std::thread::sleep(Duration::from_micros(200));
        drop(peer);
    }
    wait_until(|| runtime.handle().stats(0).unwrap().sockets_open.get() == 1);
    let mut peer = connect(address);
    peer.write_all(b"alive").unwrap();
    let mut back = [0; 5];
    peer.read_exact(&mut back).unwrap();
}

#[test]
fn a_peer_that_does_not_read_is_cut_off_by_its_deadline() {
    let runtime = start(1);
    let (tell, told) = mpsc::channel();
    let address = serve(&runtime.handle(), move |mut stream| {
        let tell = tell.clone();
        async move {
            stream.send(vec![0; 64 << 20]).unwrap();
            assert!(stream.send(vec![1]).is_err(), "two sends at once");
            let late = timeout(Duration::from_millis(100), stream.flushed()).await;
            drop(stream);
            tell.send(late.is_err()).unwrap();
        }
    });
    let _peer = connect(address);
    assert_eq!(told.recv_timeout(SECOND * 10), Ok(true));
    wait_until(|| runtime.handle().stats(0).unwrap().sockets_open.get() == 1);
}

#[test]
fn shards_share_a_port_and_a_taken_port_is_refused() {
    let runtime = start(2);
    let first = listen("127.0.0.1:0".parse().unwrap(), true).unwrap();
    let address = first.local_addr().unwrap();
    assert!(listen(address, false).is_err());
    for (shard, listener) in [first, listen(address, true).unwrap()]
        .into_iter()
        .enumerate()
    {
        let accept = move || async move {
            let mut listener = TcpListener::from_std(listener).unwrap();
            while let Ok(mut stream) = listener.accept().await {
                stream.send(vec![u8::try_from(shard).unwrap()]).unwrap();
                spawn_local(async move { stream.flushed().await.unwrap() }).unwrap();
            }
        };
        runtime.handle().spawn_on(shard, accept).unwrap();
    }
    let mut served = [0; 2];
    for _ in 0..200 {
        let mut answer = [9];
        connect(address).read_exact(&mut answer).unwrap();
        served[answer[0] as usize] += 1;
    }
    assert!(
        served.iter().all(|&n| n > 20),
        "the kernel spreads connections: {served:?}"
    );
}
