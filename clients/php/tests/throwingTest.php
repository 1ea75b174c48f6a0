<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\Frame;
use Kahe\Warnings;

// An application may throw in the middle of the client's work: from its error handler (all tests run under one), or a signal's.

test('Throwing: the application has its error handler back, also after a failure', function (): void {
    $client = new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/fallback');
    $client->send('b', 'm');
    throws(\ErrorException::class, fn () => fopen(folder() . '/missing', 'r'));
    throws(\LogicException::class, fn () => Warnings::off(fn () => throw new \LogicException()));
    throws(\ErrorException::class, fn () => fopen(folder() . '/missing', 'r'));
    require_once __DIR__ . '/../examples/plain.php';
    same(false, \kahe_send('b', 'm', '', folder() . '/nobody.sock'));
    throws(\ErrorException::class, fn () => fopen(folder() . '/missing', 'r'));
});

test('Throwing: nothing is silenced with @, which such a handler does not heed', function (): void {
    $files = [...glob(__DIR__ . '/../src/*.php'), ...glob(__DIR__ . '/../examples/*.php'), ...glob(__DIR__ . '/*.php')];
    isTrue(count($files) > 15, 'they were found');
    foreach ($files as $file) {
        foreach (\PhpToken::tokenize(file_get_contents($file)) as $token) {
            isTrue($token->text !== '@', "$file:$token->line");
        }
    }
});

test('README: its copy-and-paste function says false when the daemon restarted, and connects again', function (): void {
    $server = new FakeServer();
    require_once __DIR__ . '/../examples/plain.php';
    same(true, \kahe_send('b', 'one', '', $server->socket));
    $server->kill();
    $server = new FakeServer();
    same(false, \kahe_send('b', 'two', '', $server->socket));
    same(true, \kahe_send('b', 'three', '', $server->socket));
});

/** Runs $action, in which the application's handler of a signal throws after a second. */
function interrupted(\Closure $action): void
{
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, static fn () => throw new \DomainException('enough'));
    pcntl_alarm(1);
    try {
        throws(\DomainException::class, $action);
    } finally {
        pcntl_alarm(0);
        pcntl_signal(SIGALRM, SIG_DFL);
    }
}

if (!function_exists('pcntl_alarm')) {
    echo "skipped Throwing: the tests with signals, as PHP has no pcntl\n";
    return;
}

foreach (['' => false, ' (persistent)' => true] as $kind => $isPersistent) {
    test("Throwing: a signal handler in mid-frame: the frame goes whole with the next call$kind", function () use ($isPersistent): void {
        $server = new FakeServer(['read' => 'stuck']);
        $client = new Client($server->socket, deadlineMs: 60_000, persistent: $isPersistent);
        $client->send('b', 'first');
        interrupted(fn () => $client->send('b', str_repeat('m', 2_000_000)));
        $server->read();
        $client->send('b', 'next');
        same(3, $client->framesSent());
        $client->close();
        $isPersistent ? endPersistent($server) : null;
        [$torn, $whole] = $server->received();
        same(md5(frame('b', str_repeat('m', 2_000_000)) . frame('b', 'next')), md5($whole));
        isTrue(str_starts_with(frame('b', 'first') . frame('b', str_repeat('m', 2_000_000)), $torn), 'nothing follows half a frame');
    });
}

test('Throwing: a signal handler while waiting for a receipt: nothing counts as confirmed, and no answer is taken for another', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, receiptDeadlineMs: 60_000, confirm: true);
    $client->send('b', 'one');
    interrupted(fn () => $client->flush());
    same(0, $client->framesSent());
    $server->read();
    $client->send('b', 'two');
    same(2, $client->receipt());
    $client->close();
    same([frame('b', 'one') . Frame::RECEIPT, frame('b', 'one') . frame('b', 'two') . Frame::RECEIPT], $server->received());
});
