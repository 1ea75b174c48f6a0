<?php

// One sender of the demo, as a PHP worker is: `php send.php SOCKET BUCKET SENDER FIRST COUNT`. Writes COUNT frames one by one, asks once
// whether they are safe, and prints the answer.

declare(strict_types=1);

require __DIR__ . '/../../clients/php/autoload.php';

[, $socket, $bucket, $sender, $first, $count] = $argv;
$kahe = new Kahe\Client(socket: $socket, deadlineMs: 10_000, receiptDeadlineMs: 30_000);
for ($id = (int) $first; $id < $first + $count; $id++) {
    $message = json_encode(['sender' => $sender, 'id' => $id], JSON_THROW_ON_ERROR);
    $kahe->send($bucket, $message, $bucket === 'orders' ? 'user-' . $id % 100 : null);
}
echo $kahe->receipt(), "\n";
