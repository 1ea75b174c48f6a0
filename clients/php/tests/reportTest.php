<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\DeadlineExceeded;
use Kahe\Discarded;
use Kahe\Frame;
use Kahe\Unavailable;

test('Report: tells what became of the frames of this connection, when they are safe or when they are settled', function (): void {
    $server = new FakeServer(['discards' => 1]);
    $client = new Client($server->socket, bufferBytes: 1000);
    $client->send('b', 'one');
    $client->send('b', 'two');
    $reasons = [['outcome' => 'discarded', 'reason' => 'the topic is away', 'frames' => 1]];
    same(
        ['level' => 'safe', 'frames' => 2, 'outcomes' => ['safe' => 1, 'rejected' => 0, 'discarded' => 1], 'reasons' => $reasons],
        $client->report(),
    );
    $client->send('b', 'three');
    same(
        ['level' => 'settled', 'frames' => 3, 'outcomes' => ['delivered' => 2, 'rejected' => 0, 'discarded' => 1], 'reasons' => $reasons],
        $client->report(settled: true),
    );
    $client->close();
    $asked = [frame('b', 'one') . frame('b', 'two') . reportQuestion(), frame('b', 'three') . reportQuestion('settled')];
    same([implode('', $asked)], $server->received());
});

test('Report: receipts and reports take turns on a connection, each with its own answer', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    for ($i = 1; $i <= 3; $i++) {
        $client->send('b', 'm');
        same($i, $client->receipt());
        same($i, $client->report()['frames']);
    }
});

foreach (['an older daemon, which takes it for a bad frame' => ['reports' => false], 'kahego, which answers nothing' => ['answers' => false]] as $who => $options) {
    test("Report: throws when the answer does not come in time: $who", function () use ($options): void {
        $server = new FakeServer($options);
        $client = new Client($server->socket);
        $client->send('b', 'one');
        $ms = timed(function () use ($client): void {
            $error = throws(DeadlineExceeded::class, fn () => $client->report(deadlineMs: 80));
            isTrue(str_contains($error->getMessage(), '1 frame(s) were written, and what became of them is not known'), $error->getMessage());
        });
        isTrue($ms >= 70 && $ms < LONG_MS, "the deadline is kept ($ms ms)");
        $client->send('b', 'two');
        $client->close();
        same([frame('b', 'one') . reportQuestion(), frame('b', 'two')], $server->received());
    });
}

test('Report: waits for receiptDeadlineMs unless told otherwise', function (): void {
    $server = new FakeServer(['answers' => false]);
    $client = new Client($server->socket, receiptDeadlineMs: 80);
    $error = throws(DeadlineExceeded::class, fn () => $client->report());
    isTrue(str_contains($error->getMessage(), 'within 80 ms'), $error->getMessage());
});

test('Report: a daemon that ends the connection at the question', function (): void {
    $server = new FakeServer(['reports' => 'close']);
    $client = new Client($server->socket);
    $client->send('b', 'one');
    throws(Unavailable::class, fn () => $client->report());
    $client->send('b', 'two');
    $client->close();
    same([frame('b', 'one') . reportQuestion(), frame('b', 'two')], $server->received());
});

foreach ([
    'no JSON' => "\x05\0\0\0hello",
    'JSON of something else' => "\x02\0\0\0{}",
    'a length that cannot be' => "\x7f\x7f\x7f\x7f",
] as $what => $bytes) {
    test("Report: an answer that is none: $what", function () use ($bytes): void {
        $server = new FakeServer(['reports' => $bytes]);
        $client = new Client($server->socket);
        $client->send('b', 'one');
        throws(Unavailable::class, fn () => $client->report());
        $client->send('b', 'two');
        $client->close();
        same([frame('b', 'one') . reportQuestion(), frame('b', 'two')], $server->received());
    });
}

test('Report: the daemon is away', function (): void {
    throws(Unavailable::class, fn () => (new Client(folder() . '/nobody.sock'))->report());
});

test('Report: frames on a connection that ended are told of, once, though they had a receipt', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('b', 'one');
    same(1, $client->receipt());
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'two');
    $error = throws(Unavailable::class, fn () => $client->report());
    isTrue(str_contains($error->getMessage(), '1 frame(s) were written, and what became of them is not known'), $error->getMessage());
    same(1, $client->report()['frames']);
    $server->kill();
    $server = new FakeServer();
    throws(Unavailable::class, fn () => $client->report());
    same(0, $client->report()['frames']);
});

test('Report: with confirm it waits for the receipt first', function (): void {
    $server = new FakeServer(['reports' => false]);
    $client = new Client($server->socket, confirm: true);
    $client->send('b', 'one');
    throws(DeadlineExceeded::class, fn () => $client->report(deadlineMs: 50));
    same(1, $client->framesSent());
    $client->close();
    same([frame('b', 'one') . Frame::RECEIPT . reportQuestion()], $server->received());
});

test('Receipt: that counts less than what was written never calls it safe', function (): void {
    $server = new FakeServer(['discards' => 2]);
    $client = new Client($server->socket);
    $client->sendMany('b', ['one', 'two', 'three']);
    $error = throws(Discarded::class, fn () => $client->receipt());
    isTrue(str_contains($error->getMessage(), 'discarded 2 of 3 frame(s) of this connection (2 the topic is away)'), $error->getMessage());
    same('', $error->frames);
    $client->close();
    same([frame('b', 'one') . frame('b', 'two') . frame('b', 'three') . Frame::RECEIPT . reportQuestion()], $server->received());
});

test('Receipt: that counts less, and no report of it: the answer did not come', function (): void {
    $server = new FakeServer(['discards' => 1, 'reports' => false]);
    $client = new Client($server->socket);
    $client->send('b', 'one');
    throws(DeadlineExceeded::class, fn () => $client->receipt(80));
});

test('Receipt: counts the frames of the present connection, also after close and after a restart', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->sendMany('b', ['one', 'two']);
    same(2, $client->receipt());
    $client->close();
    $client->send('b', 'three');
    same(1, $client->receipt());
    $server->kill();
    new FakeServer();
    $client->send('b', 'four');
    same(1, $client->receipt());
});

test('Confirm: a receipt that counts less is none: the frames go to the fallback, or come back', function (): void {
    $server = new FakeServer(['discards' => 1]);
    $client = new Client($server->socket, confirm: true, fallbackDir: folder() . '/fallback');
    $client->send('b', 'one');
    $client->send('b', 'two');
    $client->flush();
    same(frame('b', 'one') . frame('b', 'two'), contentsOf(folder() . '/fallback'));
    same([0, 2], [$client->framesSent(), $client->framesInFallback()]);
    $client = new Client($server->socket, confirm: true);
    $client->send('b', 'three');
    $error = throws(Discarded::class, fn () => $client->flush());
    same(frame('b', 'three'), $error->frames);
    $client->flush();
});
