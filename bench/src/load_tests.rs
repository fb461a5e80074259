//! The generator against a real HTTP/2 server, the one that does nothing.

use std::net::TcpListener;

use prost::Message;
use store_proto::etcdserverpb::{PutRequest, RangeRequest};

use super::*;
use crate::cases::{PUT, RANGE};
use crate::contender::serve_nothing;

/// Starts the server on a thread of its own that ends with the test's process.
fn server() -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve_nothing(address, 256)).unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while Lines::connect(&[address], 1).is_err() {
        assert!(Instant::now() < deadline, "the server does not listen");
        std::thread::yield_now();
    }
    address
}

/// Asks the same so many times.
struct Times {
    left: usize,
    path: &'static str,
    request: Vec<u8>,
}

impl Asker for Times {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        self.left = self.left.checked_sub(1)?;
        message.extend_from_slice(&self.request);
        Some(self.path)
    }
}

#[test]
fn every_call_is_answered_once_whatever_its_size() {
    let address = server();
    for (value_bytes, clients) in [(0, 1), (256, 100), (50_000, 16)] {
        let request = PutRequest {
            key: "k".into(),
            value: vec![7; value_bytes].into(),
            ..PutRequest::default()
        };
        let mut puts = Times {
            left: 500,
            path: PUT,
            request: request.encode_to_vec(),
        };
        let mut meter = Meter::idle();
        meter.begin().unwrap();
        exhaust(&[address], 3, clients, &mut puts, &mut meter).unwrap();
        let sample = meter.finish().unwrap();
        assert_eq!(
            (sample.operations, sample.refusals),
            (500, 0),
            "{value_bytes} bytes"
        );
    }
}

#[test]
fn measuring_takes_the_time_it_was_given() {
    let request = RangeRequest {
        key: "k".into(),
        ..RangeRequest::default()
    };
    let mut reads = Times {
        left: usize::MAX,
        path: RANGE,
        request: request.encode_to_vec(),
    };
    let mut meter = Meter::idle();
    let shape = Shape {
        connections: 2,
        clients: 8,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
    };
    measure(&[server()], shape, &mut reads, &mut meter).unwrap();
    let sample = meter.finish().unwrap();
    assert!(sample.operations > 0 && sample.refusals == 0);
    assert!(sample.elapsed >= shape.measured);
}

#[test]
fn a_server_that_only_refuses_is_given_up() {
    let mut calls = Times {
        left: usize::MAX,
        path: "/etcdserverpb.KV/Compact",
        request: Vec::new(),
    };
    let error = exhaust(&[server()], 1, 10, &mut calls, &mut Meter::idle()).unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
}
