<?php

// A fake daemon for the tests, in a process of its own. Argument: JSON
//   socket, report   paths
//   read             "fast" (default), "slow" (a little at a time), "stuck" (accepts, reads only after "read" on stdin)
//   closeAfter       closes each connection once it has read this many bytes of it
//   answers          false: leaves receipts and reports unanswered, as kahego does
//   reports          false: takes the report question for a bad frame, as an older daemon does; "close": ends the connection at it;
//                    other text: answers with this instead of JSON
//   discards         it keeps so many of each connection's frames not, and says so
//   accepts          false: never accepts, with a queue of one
// "finish" on stdin: reads until every connection has ended, then writes what came to the report, and exits.

declare(strict_types=1);

use Kahe\Warnings;

require __DIR__ . '/../autoload.php';

final class Server
{
    private const SLOW_BYTES = 16 * 1024;

    /** @var resource */
    private $listener;
    /** @var array<int, resource> connections that are open */
    private array $open = [];
    /** @var list<string> all that came, per connection */
    private array $bytes = [];
    /** @var list<array{at: int, frames: int}> per connection: how far it was counted */
    private array $counted = [];
    private bool $isStuck;
    private bool $isFinishing = false;

    /** @param array<string, mixed> $options */
    public function __construct(private readonly array $options)
    {
        Warnings::off(static fn () => unlink($options['socket']));
        $context = stream_context_create(['socket' => ['backlog' => $this->accepts() ? 511 : 1]]);
        $this->listener = stream_socket_server("unix://{$options['socket']}", $code, $error, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, $context);
        $this->isStuck = ($options['read'] ?? 'fast') === 'stuck';
    }

    public function run(): void
    {
        while (!$this->isDone()) {
            $readable = [STDIN];
            if ($this->accepts()) {
                $readable['listener'] = $this->listener;
            }
            if (!$this->isStuck) {
                $readable += array_combine(array_map(fn (int $id): string => "client $id", array_keys($this->open)), $this->open);
            }
            $none = null;
            stream_select($readable, $none, $none, 0, 50_000);
            foreach ($readable as $stream) {
                match ($stream) {
                    STDIN => $this->obey(trim((string) fgets(STDIN))),
                    $this->listener => $this->accept(),
                    default => $this->readFrom((int) array_search($stream, $this->open, true)),
                };
            }
        }
        file_put_contents($this->options['report'], serialize($this->bytes));
    }

    private function accepts(): bool
    {
        return $this->options['accepts'] ?? true;
    }

    /** Connections that wait to be accepted come first: the listener is looked at once more. */
    private function isDone(): bool
    {
        return $this->isFinishing && $this->open === [] && !($this->accepts() && $this->accept(0));
    }

    private function obey(string $command): void
    {
        $this->isStuck = false;
        $this->isFinishing = $this->isFinishing || $command !== 'read';
    }

    private function accept(float $timeout = 1): bool
    {
        $stream = Warnings::off(fn () => stream_socket_accept($this->listener, $timeout));
        if ($stream === false) {
            return false;
        }
        stream_set_blocking($stream, false);
        stream_set_read_buffer($stream, 0);
        $this->open[count($this->bytes)] = $stream;
        $this->bytes[] = '';
        $this->counted[] = ['at' => 0, 'frames' => 0];

        return true;
    }

    private function readFrom(int $id): void
    {
        $isSlow = ($this->options['read'] ?? 'fast') === 'slow';
        $limit = $this->options['closeAfter'] ?? PHP_INT_MAX;
        $bytes = (string) fread($this->open[$id], min($isSlow ? self::SLOW_BYTES : 1 << 20, $limit - strlen($this->bytes[$id])));
        $this->bytes[$id] .= $bytes;
        $this->answer($id);
        if ($isSlow) {
            usleep(1000);
        }
        if (strlen($this->bytes[$id]) >= $limit || ($bytes === '' && stream_get_meta_data($this->open[$id])['eof'])) {
            fclose($this->open[$id]);
            unset($this->open[$id]);
        }
    }

    private function answer(int $id): void
    {
        ['at' => $at, 'frames' => $frames] = $this->counted[$id];
        $end = strlen($this->bytes[$id]);
        while ($at + 4 <= $end && $at + 4 + ($length = unpack('V', $this->bytes[$id], $at)[1]) <= $end) {
            $body = substr($this->bytes[$id], $at + 4, $length);
            $at += 4 + $length;
            $answer = match (true) {
                $body === '' => pack('P', $frames - min($frames, $this->options['discards'] ?? 0)),
                str_starts_with($body, "\0\5kahe?") => $this->report($id, substr($body, 7), $frames),
                default => '',
            };
            $frames += $body !== '' && $body[0] !== "\0" ? 1 : 0;
            if ($answer !== '' && ($this->options['answers'] ?? true)) {
                Warnings::off(fn () => fwrite($this->open[$id], $answer));
            }
        }
        $this->counted[$id] = ['at' => $at, 'frames' => $frames];
    }

    private function report(int $id, string $asked, int $frames): string
    {
        $reports = $this->options['reports'] ?? true;
        if ($reports === 'close') {
            stream_socket_shutdown($this->open[$id], STREAM_SHUT_RDWR);
        }
        if ($reports !== true) {
            return $reports === 'close' ? '' : (string) $reports;
        }
        $discarded = min($frames, $this->options['discards'] ?? 0);
        $kept = [$asked === 'settled' ? 'delivered' : 'safe' => $frames - $discarded];
        $json = json_encode([
            'level' => $asked === 'settled' ? 'settled' : 'safe',
            'frames' => $frames,
            'outcomes' => $kept + ['rejected' => 0, 'discarded' => $discarded],
            'reasons' => $discarded > 0 ? [['outcome' => 'discarded', 'reason' => 'the topic is away', 'frames' => $discarded]] : [],
        ]);

        return pack('V', strlen($json)) . $json;
    }
}

$server = new Server(json_decode($argv[1], true));
echo "ready\n";
$server->run();
