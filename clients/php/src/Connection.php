<?php

declare(strict_types=1);

namespace Kahe;

/**
 * One connection to the daemon's socket. It waits for nothing beyond the deadline, and whenever something fails it
 * closes the connection for real, so that a frame cut in half is never followed by another frame.
 *
 * A persistent connection outlives the request. Should the request die in mid-frame (fatal error, time limit, exit),
 * the next request must not go on with it, and PHP keeps no variable that could say so. It does keep the stream's
 * blocking mode; hence the mark: non-blocking = something is under way, blocking = between frames.
 *
 * @internal
 */
final class Connection
{
    /** One fwrite copies at most this much of a large write. */
    private const CHUNK_BYTES = 256 * 1024;

    private const MAX_ANSWER_BYTES = 1024 * 1024;

    /** How long to wait when the daemon's queue of new connections is full, and the kernel offers nothing to wait for. */
    private const FULL_QUEUE_PAUSE_US = 2000;

    /** EAGAIN on Linux, and on macOS and BSD. */
    private const EAGAIN = [11, 35];

    /** @var resource|null */
    private $stream = null;

    public function __construct(private readonly string $socket, private readonly bool $isPersistent)
    {
    }

    /** Connects, unless it is connected. @throws ConnectionFailed */
    public function open(Deadline $deadline): void
    {
        if ($this->stream !== null) {
            $this->checkStillOurs();
            return;
        }
        $this->stream = $this->connect($deadline);
        if (!stream_get_meta_data($this->stream)['blocked']) {
            $this->close();
            $this->stream = $this->connect($deadline);
        }
        stream_set_blocking($this->stream, $this->isPersistent);
    }

    /** Writes all of it. @throws ConnectionFailed with the number of bytes that the kernel took */
    public function write(string $bytes, Deadline $deadline): void
    {
        $this->markBusy();
        $this->writeAll($bytes, $deadline);
        $this->markIdle();
    }

    /**
     * Writes a question and reads the answer.
     *
     * @param int|null $bytes of the answer; null: it begins with a u32 LE that says how many follow
     * @throws ConnectionFailed
     */
    public function ask(string $question, ?int $bytes, Deadline $deadline): string
    {
        $this->markBusy();
        $this->writeAll($question, $deadline);
        $bytes ??= unpack('V', $this->readAll(4, $deadline))[1];
        if ($bytes > self::MAX_ANSWER_BYTES) {
            throw $this->failed(ConnectionFailed::LOST, "announced an answer of $bytes bytes, which can't be");
        }
        $answer = $this->readAll($bytes, $deadline);
        $this->markIdle();

        return $answer;
    }

    /** Closes for real, a persistent connection too. */
    public function close(): void
    {
        if (is_resource($this->stream)) {
            fclose($this->stream);
        }
        $this->stream = null;
    }

    /** Lets go: a persistent connection stays open for the next request of this process. */
    public function release(): void
    {
        if ($this->isPersistent) {
            $this->stream = null;
        }
        $this->close();
    }

    /**
     * @return resource
     * @throws ConnectionFailed
     */
    private function connect(Deadline $deadline)
    {
        $flags = STREAM_CLIENT_CONNECT | ($this->isPersistent ? STREAM_CLIENT_PERSISTENT : 0);
        $tryOnce = function () use (&$code, &$reason, $deadline, $flags) {
            return stream_socket_client("unix://$this->socket", $code, $reason, $deadline->leftUs() / 1e6, $flags);
        };
        while (true) {
            $stream = Warnings::off($tryOnce);
            if ($stream !== false) {
                return $stream;
            }
            if (!in_array($code, self::EAGAIN, true)) {
                throw $this->failed(ConnectionFailed::AWAY, 'can\'t be connected to' . ($reason === '' ? '' : " ($reason)"));
            }
            if ($deadline->isOver()) {
                throw $this->failed(ConnectionFailed::LATE, "accepted no connection within {$deadline->ms} ms");
            }
            usleep(min(self::FULL_QUEUE_PAUSE_US, $deadline->leftUs()));
        }
    }

    /** @throws ConnectionFailed */
    private function writeAll(string $bytes, Deadline $deadline): void
    {
        $total = strlen($bytes);
        $written = 0;
        while ($written < $total) {
            $piece = $written === 0 && $total <= self::CHUNK_BYTES ? $bytes : substr($bytes, $written, self::CHUNK_BYTES);
            $taken = Warnings::off(fn () => fwrite($this->stream, $piece));
            if ($taken === false) {
                throw $this->failed(ConnectionFailed::LOST, "closed the connection after $written of $total bytes", $written);
            }
            $written += $taken;
            if ($written < $total && !$this->wait($deadline, forReading: false)) {
                throw $this->failed(ConnectionFailed::LATE, "took $written of $total bytes within {$deadline->ms} ms", $written);
            }
        }
    }

    /** @throws ConnectionFailed */
    private function readAll(int $bytes, Deadline $deadline): string
    {
        for ($answer = ''; strlen($answer) < $bytes; $answer .= $read) {
            if (!$this->wait($deadline, forReading: true)) {
                throw $this->failed(ConnectionFailed::LATE, "gave no answer within {$deadline->ms} ms");
            }
            $read = (string) Warnings::off(fn () => fread($this->stream, $bytes - strlen($answer)));
            // Not feof(): on an open socket it waits for default_socket_timeout.
            if ($read === '' && stream_get_meta_data($this->stream)['eof']) {
                throw $this->failed(ConnectionFailed::LOST, 'closed the connection before the answer');
            }
        }

        return $answer;
    }

    /** Two clients of one process share a persistent stream: the other one may have closed it. */
    private function checkStillOurs(): void
    {
        if (!is_resource($this->stream)) {
            throw $this->failed(ConnectionFailed::LOST, 'failed another client of this process, which closed the connection');
        }
    }

    private function markBusy(): void
    {
        if ($this->isPersistent) {
            stream_set_blocking($this->stream, false);
        }
    }

    private function markIdle(): void
    {
        if ($this->isPersistent) {
            stream_set_blocking($this->stream, true);
        }
    }

    /** False when the deadline is over. True may be early (a signal): the caller just tries again. */
    private function wait(Deadline $deadline, bool $forReading): bool
    {
        $leftUs = $deadline->leftUs();
        if ($leftUs === 0) {
            return false;
        }
        $select = function () use ($forReading, $leftUs): int|false {
            [$reads, $writes, $others] = $forReading ? [[$this->stream], null, null] : [null, [$this->stream], null];

            return stream_select($reads, $writes, $others, intdiv($leftUs, 1_000_000), $leftUs % 1_000_000);
        };
        if (Warnings::off($select) === false) {
            usleep(min(1000, $leftUs));
        }

        return true;
    }

    /** Closes for real. @param ConnectionFailed::* $kind */
    public function failed(string $kind, string $what, int $written = 0): ConnectionFailed
    {
        $this->close();

        return new ConnectionFailed($kind, $what, $written);
    }
}
