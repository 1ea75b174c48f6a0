<?php

// A page that sends frames, and tells as JSON what became of them. Query parameters:
//   socket    path of the daemon's socket
//   bucket    where to; default "requests"
//   count     how many frames; default 1
//   prefix    names this request in the payload {"worker": prefix, "seq": 0, 1, …}
//   key       of every frame; default none
//   padding   bytes of filler in every payload; default 0
//   mode      one: a send() each · many: one sendMany() · plain: the README's function; default one
//   receipt   1: ask for one at the end
//   report    safe, settled: ask for one at the end
//   bufferBytes, persistent, confirm, deadlineMs, receiptDeadlineMs, fallbackDir: options of the client
// Answer: {"pid", "sent", "inFallback", "receipt": number or null, "report": array or null, "error": class and message or null, "ms"}

declare(strict_types=1);

require __DIR__ . '/../../clients/php/autoload.php';
require __DIR__ . '/../../clients/php/examples/plain.php';

// As strict applications have it; it is called for what `@` silences too.
set_error_handler(static fn (int $level, string $text) => throw new ErrorException($text));

/** @return Generator<string> */
function payloads(int $count, string $prefix, int $padding): Generator
{
    for ($seq = 0; $seq < $count; $seq++) {
        $filler = $padding > 0 ? ['padding' => str_repeat('x', $padding)] : [];
        yield json_encode(['worker' => $prefix, 'seq' => $seq] + $filler, JSON_THROW_ON_ERROR);
    }
}

function clientFrom(array $query): Kahe\Client
{
    $options = array_intersect_key($query, array_flip(['socket', 'fallbackDir']));
    $numbers = array_intersect_key($query, array_flip(['bufferBytes', 'deadlineMs', 'receiptDeadlineMs']));
    $flags = array_intersect_key($query, array_flip(['persistent', 'confirm']));

    return new Kahe\Client(...$options, ...array_map('intval', $numbers), ...array_map('boolval', $flags));
}

/** @return array{sent: int, inFallback: int, receipt: int|null, report: array|null, error: string|null} */
function sendWithClient(array $query, string $bucket, iterable $payloads, ?string $key): array
{
    $client = clientFrom($query);
    $receipt = $report = $error = null;
    try {
        if (($query['mode'] ?? 'one') === 'many') {
            $client->sendMany($bucket, withKey($payloads, $key));
        } else {
            foreach ($payloads as $payload) {
                $client->send($bucket, $payload, $key);
            }
        }
        $client->flush();
        $receipt = ($query['receipt'] ?? '0') === '1' ? $client->receipt() : null;
        $report = isset($query['report']) ? $client->report($query['report'] === 'settled') : null;
    } catch (Kahe\Exception $exception) {
        $error = $exception::class . ': ' . $exception->getMessage();
    }

    return ['sent' => $client->framesSent(), 'inFallback' => $client->framesInFallback(), 'receipt' => $receipt, 'report' => $report, 'error' => $error];
}

/** @return Generator<array{message: string, key: string|null}> */
function withKey(iterable $payloads, ?string $key): Generator
{
    foreach ($payloads as $payload) {
        yield ['message' => $payload, 'key' => $key];
    }
}

/** @return array{sent: int, inFallback: int, receipt: null, report: null, error: string|null} */
function sendPlain(string $socket, string $bucket, iterable $payloads, ?string $key): array
{
    [$sent, $error] = [0, null];
    foreach ($payloads as $payload) {
        kahe_send($bucket, $payload, $key ?? '', $socket) ? $sent++ : $error = "frame after $sent was not sent";
    }

    return ['sent' => $sent, 'inFallback' => 0, 'receipt' => null, 'report' => null, 'error' => $error];
}

$before = hrtime(true);
$bucket = $_GET['bucket'] ?? 'requests';
$key = $_GET['key'] ?? null;
$payloads = payloads((int) ($_GET['count'] ?? 1), $_GET['prefix'] ?? '', (int) ($_GET['padding'] ?? 0));
$result = ($_GET['mode'] ?? 'one') === 'plain'
    ? sendPlain($_GET['socket'] ?? '/tmp/kahego.sock', $bucket, $payloads, $key)
    : sendWithClient($_GET, $bucket, $payloads, $key);

header('Content-Type: application/json');
echo json_encode(['pid' => getmypid()] + $result + ['ms' => (hrtime(true) - $before) / 1e6], JSON_THROW_ON_ERROR);
