<?php

declare(strict_types=1);

namespace Kahe;

/**
 * Sends messages to Kahe over its Unix socket, and never holds the request longer than the deadline.
 *
 * A frame is sent when the kernel took all of it. What was not sent goes to a fallback file (`fallbackDir`), or back to
 * the caller in the exception; it is never dropped in silence. Order is kept per connection.
 */
final class Client
{
    /** sendMany() writes this much at a time. */
    private const RUN_BYTES = 64 * 1024;

    /** `confirm` asks for a receipt in between when it holds this much. */
    private const MAX_UNCONFIRMED_BYTES = 8 * 1024 * 1024;

    /** A daemon that restarts costs two tries: the old connection, and one that the old daemon never accepted. */
    private const MAX_TRIES = 3;

    private const MAX_SOCKET_PATH_BYTES = 103;

    /** @var \WeakMap<self, true>|null the clients whose frames are flushed when the request ends */
    private static ?\WeakMap $unfinished = null;

    private readonly Connection $connection;
    private readonly Questions $questions;
    private readonly ?Fallback $fallback;
    private int $pid;

    /** Frames that were not written yet. */
    private string $buffer = '';
    private Written $written;
    private int $framesInFallback = 0;
    private int $pausedUntilNs = 0;

    /**
     * Connects at the first send, not here.
     *
     * @param string      $socket            absolute path of the daemon's socket
     * @param int         $deadlineMs        the longest that one call may wait to connect and write
     * @param int         $receiptDeadlineMs the longest wait for a receipt. Without a spool the daemon answers only
     *                                       after the delivery, so allow for the bucket's batchTimeout
     * @param int         $bufferBytes       0: each send() writes at once. Otherwise frames are collected up to this
     *                                       many bytes, and flushed at the end of the request at the latest
     * @param bool        $persistent        keep the connection for the next requests of this PHP process
     * @param string|null $fallbackDir       absolute folder for frames that the daemon did not take; null: throw
     * @param bool        $confirm           hold frames until the daemon confirmed them: flush(), close() and the end
     *                                       of the request wait for a receipt
     * @param int         $maxFrame          bytes; the daemon's MAXFRAME
     * @param int         $retryAfterMs      after a deadline, don't wait for the daemon again for this long, so that
     *                                       a request with many sends waits once
     *
     * @throws InvalidOption
     */
    public function __construct(
        private readonly string $socket = '/tmp/kahego.sock',
        private readonly int $deadlineMs = 200,
        private readonly int $receiptDeadlineMs = 2000,
        private int $bufferBytes = 0,
        bool $persistent = false,
        ?string $fallbackDir = null,
        private readonly bool $confirm = false,
        private readonly int $maxFrame = Frame::MAX_BYTES,
        private readonly int $retryAfterMs = 1000,
    ) {
        $this->checkOptions($fallbackDir);
        $this->connection = new Connection($socket, $persistent);
        $this->questions = new Questions($this->connection, $persistent);
        $this->fallback = $fallbackDir === null ? null : new Fallback(rtrim($fallbackDir, '/'));
        $this->written = new Written($confirm);
        $this->pid = getmypid();
        if ($bufferBytes > 0 || $confirm) {
            self::flushAtEndOfRequest($this);
        }
    }

    /**
     * @param string|null $key null and '' mean no key; '0' is a key
     *
     * @throws InvalidFrame
     * @throws NotSent      DeadlineExceeded, Unavailable or FallbackFailed, with the frames
     */
    public function send(string $bucket, string $message, ?string $key = null): void
    {
        $frame = Frame::encode($bucket, $key, $message, $this->maxFrame);
        $this->forgetAfterFork();
        $this->buffer .= $frame;
        if (strlen($this->buffer) > $this->bufferBytes) {
            $this->writeBuffer(new Deadline($this->deadlineMs));
        }
    }

    /**
     * Sends many messages in few writes. Messages before an invalid one are sent, those after it are not; when it
     * throws NotSent, nothing more is taken from the iterable. The time that the iterable takes is not counted.
     *
     * @param iterable<string|array{message: string, key?: string|null}> $messages
     *
     * @return int how many
     * @throws InvalidFrame
     * @throws NotSent
     */
    public function sendMany(string $bucket, iterable $messages): int
    {
        $this->forgetAfterFork();
        $runBytes = max($this->bufferBytes, self::RUN_BYTES);
        $deadline = new Deadline($this->deadlineMs);
        $count = 0;
        $deadline->pause();
        try {
            foreach ($messages as $message) {
                $this->buffer .= $this->encodeItem($bucket, $message, $count);
                $count++;
                if (strlen($this->buffer) >= $runBytes) {
                    $deadline->resume();
                    $this->writeBuffer($deadline);
                    $deadline->pause();
                }
            }
        } finally {
            if (strlen($this->buffer) > $this->bufferBytes) {
                $deadline->resume();
                $this->writeBuffer($deadline);
            }
        }

        return $count;
    }

    /** Writes what is buffered. With `confirm` it also waits for the receipt. @throws NotSent */
    public function flush(): void
    {
        $this->forgetAfterFork();
        $this->writeBuffer(new Deadline($this->deadlineMs));
        if ($this->written->heldBytes() > 0) {
            $this->settle(new Deadline($this->receiptDeadlineMs));
        }
    }

    /**
     * Writes what is buffered, and waits until all frames of this connection are safe.
     *
     * @return int how many frames of this connection are safe; a persistent connection also counts earlier requests'
     * @throws DeadlineExceeded the answer did not come in time (kahego, which knows no receipts, never answers)
     * @throws Unavailable      the daemon is away, or frames were written to a connection that broke before their receipt
     * @throws Discarded        the daemon did not keep all of them
     * @throws FallbackFailed
     */
    public function receipt(?int $deadlineMs = null): int
    {
        $this->forgetAfterFork();
        $this->writeBuffer(new Deadline($this->deadlineMs));
        $answer = $this->settle(new Deadline($deadlineMs ?? $this->receiptDeadlineMs));

        return $this->forAllFrames(
            $answer,
            $this->written->takeInDoubt(),
            'frame(s) were written but not confirmed, and may be lost: send them again, or use the option confirm',
        );
    }

    /**
     * flush(), then asks what became of the frames of this connection; a persistent connection also counts earlier requests'.
     *
     * @param bool     $settled    false: answered when all of them are safe; true: when every stream has settled them
     * @param int|null $deadlineMs instead of receiptDeadlineMs
     *
     * @return array{level: string, frames: int, outcomes: array<string, int>, reasons: list<array{outcome: string, reason: string, frames: int}>}
     * @throws DeadlineExceeded the answer did not come in time (a daemon that does not know the question never answers)
     * @throws Unavailable      the daemon is away, or frames were written to a connection that ended before a report
     * @throws FallbackFailed
     */
    public function report(bool $settled = false, ?int $deadlineMs = null): array
    {
        $this->flush();
        $answer = $this->tryToReport($settled, new Deadline($deadlineMs ?? $this->receiptDeadlineMs));

        return $this->forAllFrames($answer, $this->written->takeUnreported(), 'frame(s) were written, and what became of them is not known');
    }

    /** flush(), then lets the connection go; a persistent one stays open for the next request. @throws NotSent */
    public function close(): void
    {
        try {
            $this->flush();
        } finally {
            $this->connection->release();
            $this->written->forgetConnection();
        }
    }

    /** Frames that were written to the daemon's socket. */
    public function framesSent(): int
    {
        return $this->written->frames();
    }

    /** Frames that went to the fallback files instead. */
    public function framesInFallback(): int
    {
        return $this->framesInFallback;
    }

    public function __destruct()
    {
        $this->finish();
    }

    private function writeBuffer(Deadline $deadline): void
    {
        if ($this->buffer === '') {
            return;
        }
        $frames = $this->buffer;
        $this->buffer = '';
        $this->transmit($frames, $deadline);
        if ($this->written->heldBytes() >= self::MAX_UNCONFIRMED_BYTES) {
            $this->settle(new Deadline($this->receiptDeadlineMs));
        }
    }

    /** Writes the frames, over a new connection where the old one broke; or gives them up. */
    private function transmit(string $frames, Deadline $deadline): void
    {
        try {
            $this->tryToTransmit($frames, $deadline);
        } catch (\Throwable $thrown) {
            $this->keep($frames, $thrown);
        }
    }

    /** @param string $frames what is left of them */
    private function tryToTransmit(string &$frames, Deadline $deadline): void
    {
        if (hrtime(true) < $this->pausedUntilNs) {
            $this->giveUp($frames, new ConnectionFailed(ConnectionFailed::LATE, "is not tried for $this->retryAfterMs ms after a deadline"));
            return;
        }
        for ($try = 1; ; $try++) {
            try {
                $this->connection->open($deadline);
                $this->connection->write($frames, $deadline);
                $this->written->add($frames);
                return;
            } catch (ConnectionFailed $failure) {
                $frames = $this->written->takeBack($frames, $failure->written);
                if ($failure->kind === ConnectionFailed::LOST && $try < self::MAX_TRIES) {
                    continue;
                }
                if ($failure->kind === ConnectionFailed::LATE) {
                    $this->pausedUntilNs = hrtime(true) + $this->retryAfterMs * 1_000_000;
                }
                $this->giveUp($frames, $failure);
                return;
            }
        }
    }

    /**
     * Asks for a receipt; where the connection broke and the frames are at hand (`confirm`), sends them again first.
     *
     * @return int|ConnectionFailed the failure when no answer came; the frames at hand are then in the fallback
     * @throws NotSent when there is no fallback
     */
    private function settle(Deadline $deadline): int|ConnectionFailed
    {
        $frames = '';
        try {
            return $this->tryToSettle($frames, $deadline);
        } catch (\Throwable $thrown) {
            $this->keep($frames, $thrown);
        }
    }

    /** @param string $frames those that are neither written nor given up */
    private function tryToSettle(string &$frames, Deadline $deadline): int|ConnectionFailed
    {
        for ($try = 1; ; $try++) {
            try {
                $this->connection->open($deadline);
                $safe = $this->questions->safeFrames($this->written->onConnection(), $deadline);
                $this->written->confirm();
                return $safe;
            } catch (ConnectionFailed $failure) {
                $frames = $this->written->takeBack('', 0);
                $mayRetry = $failure->kind === ConnectionFailed::LOST && !$this->written->areInDoubt() && $try < self::MAX_TRIES;
                if (!$mayRetry) {
                    if ($frames !== '') {
                        $this->giveUp($frames, $failure);
                    }
                    return $failure;
                }
                if ($frames !== '') {
                    $this->tryToTransmit($frames, $deadline);
                    $frames = '';
                }
            }
        }
    }

    /** @return array<string, mixed>|ConnectionFailed */
    private function tryToReport(bool $settled, Deadline $deadline): array|ConnectionFailed
    {
        try {
            $this->connection->open($deadline);
            return $this->questions->report($settled, $deadline);
        } catch (ConnectionFailed $failure) {
            $this->written->takeBack('', 0);
            return $failure;
        } catch (\Throwable $thrown) {
            $this->keep('', $thrown);
        }
    }

    /**
     * @template T of int|array
     * @param T|ConnectionFailed $answer
     * @param int                $others how many frames it does not speak of, as their connection has ended
     * @return T
     * @throws NotSent
     */
    private function forAllFrames(int|array|ConnectionFailed $answer, int $others, string $fate): int|array
    {
        if ($others > 0 && !$answer instanceof ConnectionFailed) {
            $answer = new ConnectionFailed(ConnectionFailed::LOST, 'closed a connection before it answered');
        }
        if ($answer instanceof ConnectionFailed) {
            throw $this->notSent($answer, '', $others > 0 ? "$others $fate" : '');
        }

        return $answer;
    }

    /** What is no NotSent was thrown by the application (by a signal handler): the frames wait for the next call. */
    private function keep(string $frames, \Throwable $thrown): never
    {
        if (!$thrown instanceof NotSent) {
            $this->connection->close();
            $this->buffer = $this->written->takeBack($frames, 0) . $this->buffer;
        }
        throw $thrown;
    }

    /** To the fallback, or else back to the caller. */
    private function giveUp(string $frames, ConnectionFailed $failure): void
    {
        if ($this->fallback === null) {
            throw $this->notSent($failure, $frames, '');
        }
        try {
            $this->fallback->append($frames);
        } catch (FallbackFailed $failed) {
            $this->framesInFallback += Frame::count($frames) - Frame::count($failed->frames);
            throw $failed;
        }
        $this->framesInFallback += Frame::count($frames);
    }

    private function notSent(ConnectionFailed $failure, string $frames, string $doubt): NotSent
    {
        $message = "Kahe at $this->socket {$failure->getMessage()}";
        if ($frames !== '') {
            $message .= '; ' . Frame::count($frames) . ($this->confirm ? ' frame(s) are not confirmed' : ' frame(s) were not sent');
        }
        if ($doubt !== '') {
            $message .= "; $doubt";
        }

        return match ($failure->kind) {
            ConnectionFailed::LATE => new DeadlineExceeded(
                "$message. See the daemon's log, allow it more time, or set fallbackDir.", $frames, $failure,
            ),
            ConnectionFailed::DISCARDED => new Discarded(
                "$message. Make room in the daemon's folder REJECTED, or set its REJECTED_FULL=hold.", $frames, $failure,
            ),
            default => new Unavailable(
                "$message. Check that the daemon runs and that this user may use its socket, or set fallbackDir.", $frames, $failure,
            ),
        };
    }

    /** @throws InvalidFrame */
    private function encodeItem(string $bucket, mixed $item, int $index): string
    {
        [$message, $key] = is_array($item) ? [$item['message'] ?? null, $item['key'] ?? null] : [$item, null];
        if (!is_string($message) || ($key !== null && !is_string($key))) {
            throw new InvalidFrame(
                "Message $index for bucket '$bucket' is neither a string nor ['message' => string, 'key' => string|null]: convert it first."
            );
        }

        return Frame::encode($bucket, $key, $message, $this->maxFrame);
    }

    /** A child of pcntl_fork() must not write into its parent's connection, nor send the parent's frames again. */
    private function forgetAfterFork(): void
    {
        if ($this->pid === getmypid()) {
            return;
        }
        $this->pid = getmypid();
        $this->connection->close();
        $this->buffer = '';
        $this->written = new Written($this->confirm);
        $this->framesInFallback = 0;
    }

    private static function flushAtEndOfRequest(self $client): void
    {
        if (self::$unfinished === null) {
            self::$unfinished = new \WeakMap();
            // A fatal error skips destructors, but not this.
            register_shutdown_function(static function (): void {
                foreach (self::$unfinished as $client => $_) {
                    $client->finish();
                    $client->bufferBytes = 0;
                }
            });
        }
        self::$unfinished[$client] = true;
    }

    /** Nobody is left to catch an exception, so it goes to PHP's error log. */
    private function finish(): void
    {
        try {
            $this->flush();
        } catch (NotSent $lost) {
            error_log('Kahe: ' . Frame::count($lost->frames) . ' frame(s) were given up at the end of the request. ' . $lost->getMessage());
        }
    }

    private function checkOptions(?string $fallbackDir): void
    {
        if (!str_starts_with($this->socket, '/') || strlen($this->socket) > self::MAX_SOCKET_PATH_BYTES) {
            throw new InvalidOption("socket '$this->socket' must be an absolute path of at most " . self::MAX_SOCKET_PATH_BYTES . ' bytes.');
        }
        if ($fallbackDir !== null && !str_starts_with($fallbackDir, '/')) {
            throw new InvalidOption("fallbackDir '$fallbackDir' must be an absolute path: the current folder changes when a request ends.");
        }
        if ($this->deadlineMs < 1 || $this->receiptDeadlineMs < 1) {
            throw new InvalidOption('deadlineMs and receiptDeadlineMs must be at least 1.');
        }
        if ($this->bufferBytes < 0 || $this->retryAfterMs < 0 || $this->maxFrame < 3) {
            throw new InvalidOption('bufferBytes and retryAfterMs must not be negative, and maxFrame at least 3.');
        }
    }
}
