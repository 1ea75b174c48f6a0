<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\DeadlineExceeded;
use Kahe\Frame;
use Kahe\Unavailable;

test('Receipt: is the number of frames of the connection that are safe', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, bufferBytes: 1000);
    same(0, $client->receipt());
    $client->send('b', 'one');
    $client->send('b', 'two');
    same(2, $client->receipt());
    $client->sendMany('b', array_fill(0, 1000, 'm'));
    same(1002, $client->receipt());
    $client->close();
    same(2 + 1000 + 3, Frame::count($server->received()[0]), 'frames and three questions');
});

test('Receipt: throws when the answer does not come in time, and never takes a late answer for a new one', function (): void {
    $server = new FakeServer(['answers' => false]);
    $client = new Client($server->socket);
    $client->send('b', 'one');
    $ms = timed(function () use ($client): void {
        $error = throws(DeadlineExceeded::class, fn () => $client->receipt(80));
        isTrue(str_contains($error->getMessage(), '1 frame(s)'), 'it says how many are in doubt');
    });
    isTrue($ms >= 70 && $ms < LONG_MS, "the deadline is kept ($ms ms)");
    $client->send('b', 'two');
    $client->close();
    same([frame('b', 'one') . Frame::RECEIPT, frame('b', 'two')], $server->received());
});

test('Receipt: the daemon is away', function (): void {
    throws(Unavailable::class, fn () => (new Client(folder() . '/nobody.sock'))->receipt());
});

test('Receipt: frames on a connection that broke are never called safe', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('b', 'one');
    $server->kill();
    $server = new FakeServer();
    $error = throws(Unavailable::class, fn () => $client->receipt());
    isTrue(str_contains($error->getMessage(), '1 frame(s)'), 'it says how many are in doubt');
    same(0, $client->receipt(), 'said once');

    $client->send('b', 'two');
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'three');
    throws(Unavailable::class, fn () => $client->receipt());
    same(1, $client->receipt());
});

test('Receipt: an idle connection with nothing in doubt is replaced', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('b', 'one');
    same(1, $client->receipt());
    $server->kill();
    $server = new FakeServer();
    same(0, $client->receipt());
});

test('Confirm: flush asks for one receipt', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, confirm: true, fallbackDir: folder() . '/fallback');
    $client->send('b', 'one');
    $client->send('b', 'two');
    $client->flush();
    $client->close();
    same([frame('b', 'one') . frame('b', 'two') . Frame::RECEIPT], $server->received());
    same([], filesIn(folder() . '/fallback'));
});

test('Confirm: without a receipt the frames go to the fallback', function (): void {
    $server = new FakeServer(['answers' => false]);
    $client = new Client($server->socket, confirm: true, receiptDeadlineMs: 50, fallbackDir: folder() . '/fallback');
    $client->send('b', 'one', '0');
    $client->send('b', 'two');
    $client->close();
    same(frame('b', 'one', '0') . frame('b', 'two'), contentsOf(folder() . '/fallback'));
    same([0, 2], [$client->framesSent(), $client->framesInFallback()]);
});

test('Confirm: without a receipt and without a fallback the frames come back', function (): void {
    $server = new FakeServer(['answers' => false]);
    $client = new Client($server->socket, confirm: true, receiptDeadlineMs: 50);
    $client->send('b', 'one');
    $error = throws(DeadlineExceeded::class, fn () => $client->flush());
    same(frame('b', 'one'), $error->frames);
    $client->flush();
});

test('Confirm: receipt throws although the frames are in the fallback', function (): void {
    $server = new FakeServer(['answers' => false]);
    $client = new Client($server->socket, confirm: true, fallbackDir: folder() . '/fallback');
    $client->send('b', 'one');
    $error = throws(DeadlineExceeded::class, fn () => $client->receipt(50));
    same('', $error->frames);
    same(frame('b', 'one'), contentsOf(folder() . '/fallback'));
});

test('Confirm: after a restart of the daemon all unconfirmed frames are sent again, in order', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, confirm: true);
    $client->send('b', 'one');
    $client->flush();
    $client->send('b', 'two');
    $client->send('b', 'three');
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'four');
    $client->flush();
    $client->send('b', 'five');
    $server->kill();
    $server = new FakeServer([]);
    same(1, $client->receipt());
    $client->close();
    same([frame('b', 'five') . Frame::RECEIPT], $server->received());
    same(5, $client->framesSent());
});

test('Confirm: after the first restart the frames come in order', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, confirm: true);
    $client->send('b', 'one');
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'two');
    $client->close();
    same([frame('b', 'one') . frame('b', 'two') . Frame::RECEIPT], $server->received());
});

test('Confirm: the end of the request waits for the receipt, or saves the frames', function (): void {
    $server = new FakeServer();
    $code = '$client = new Kahe\Client("$folder/kahe.sock", confirm: true, receiptDeadlineMs: 100, fallbackDir: "$folder/fallback");
        $client->send("b", "one"); undefined_function();';
    inProcess($code);
    same([frame('b', 'one') . Frame::RECEIPT], $server->received());
    same([], filesIn(folder() . '/fallback'));
    $server = new FakeServer(['answers' => false]);
    inProcess($code);
    same(frame('b', 'one'), contentsOf(folder() . '/fallback'));
});

test('Confirm: what it holds in memory is bounded', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, deadlineMs: LONG_MS, confirm: true);
    $client->sendMany('b', array_fill(0, 2000, str_repeat('m', 10_000)));
    $client->close();
    isTrue(substr_count($server->received()[0], Frame::RECEIPT) >= 3, 'it asked in between');
});
