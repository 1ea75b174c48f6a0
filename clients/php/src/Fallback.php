<?php

declare(strict_types=1);

namespace Kahe;

/**
 * Writes frames that the daemon did not take to `.bckstm` files of plain frames, one per process and bucket, for
 * operators to replay. Every file holds whole frames only, and nothing that a bucket's name holds becomes a path.
 *
 * @internal
 */
final class Fallback
{
    private const FOLDER_MODE = 0750;

    /** Makes new files 0640. */
    private const UMASK = 0027;

    private const NAME_BYTES = 100;

    /** A file that is being moved away for replay is left alone, and a new one begun; for ever is a fault. */
    private const MAX_OPENS = 100;

    /** @param string $folder absolute; made when missing */
    public function __construct(private readonly string $folder)
    {
    }

    /**
     * @param string $frames whole frames
     * @throws FallbackFailed with the frames that are in no file
     */
    public function append(string $frames): void
    {
        $groups = Frame::byBucket($frames);
        while ($groups !== []) {
            try {
                $this->appendTo($groups[0]['bucket'], $groups[0]['frames']);
            } catch (\UnexpectedValueException $reason) {
                throw new FallbackFailed(
                    "Kahe's fallback failed: {$reason->getMessage()}. Check that fallbackDir exists, has room, and may be"
                    . ' written by the user that PHP runs as.',
                    implode('', array_column($groups, 'frames')),
                    $reason,
                );
            }
            array_shift($groups);
        }
    }

    private function appendTo(string $bucket, string $frames): void
    {
        [$file, $path] = $this->openLocked($bucket);
        $before = fstat($file)['size'];
        $isWhole = false;
        try {
            $isWhole = Warnings::off(static fn () => fwrite($file, $frames), $warning) === strlen($frames);
        } finally {
            // A signal handler of the application may throw here too.
            $state = $isWhole ? '' : $this->cutBack($file, $path, $before);
            fclose($file);
        }
        if (!$isWhole) {
            throw new \UnexpectedValueException("$path could not be written in full (" . ($warning ?: 'disk full?') . ") and $state");
        }
    }

    /**
     * Half a frame must not be followed by another: where it can't be cut off, the file gets a name that nobody writes to.
     *
     * @param resource $file
     * @return string what was done
     */
    private function cutBack($file, string $path, int $bytes): string
    {
        if (Warnings::off(static fn () => ftruncate($file, $bytes))) {
            return 'was cut back';
        }
        $torn = substr($path, 0, -strlen('.bckstm')) . '-' . self::randomToken() . '.bckstm';
        $isMoved = Warnings::off(static fn () => rename($path, $torn));

        return 'could not be cut back: ' . ($isMoved ? "it is $torn now, and" : 'it') . ' ends in half a frame';
    }

    /**
     * Opens for append and locks, without ever waiting. An operator renames a file, locks it and replays it: a writer
     * that had it open sees that it is locked, or that the path is no longer its file, and begins a new one.
     *
     * @return array{resource, string} the file and its path
     */
    private function openLocked(string $bucket): array
    {
        $token = self::processToken();
        for ($opens = 1; $opens <= self::MAX_OPENS; $opens++) {
            $path = $this->folder . '/' . self::safeName($bucket) . '-' . getmypid() . "-$token.bckstm";
            clearstatcache(true, $path);
            $isNew = !Warnings::off(static fn () => file_exists($path));
            $file = $this->open($path);
            if (!flock($file, LOCK_EX | LOCK_NB)) {
                $token = self::randomToken();
            } elseif (self::isFileAt($file, $path)) {
                if ($isNew) {
                    error_log("Kahe: the daemon did not take frames; they go to $path. Replay it when the daemon is back.");
                }
                return [$file, $path];
            }
            fclose($file);
        }
        throw new \UnexpectedValueException("$path keeps changing while it is opened");
    }

    /** @return resource */
    private function open(string $path)
    {
        $isFolder = fn () => is_dir($this->folder);
        $makeFolder = fn () => mkdir($this->folder, self::FOLDER_MODE, true);
        if (!Warnings::off($isFolder) && !Warnings::off($makeFolder, $warning) && !Warnings::off($isFolder)) {
            throw new \UnexpectedValueException("the folder $this->folder can't be made ($warning)");
        }
        if (Warnings::off(static fn () => is_link($path))) {
            throw new \UnexpectedValueException("$path is a symbolic link, which is not followed");
        }
        $umask = umask(self::UMASK);
        try {
            $file = Warnings::off(static fn () => fopen($path, 'ab'), $warning);
        } finally {
            umask($umask);
        }
        if ($file === false) {
            throw new \UnexpectedValueException("$path can't be opened ($warning)");
        }

        return $file;
    }

    /** @param resource $file */
    private static function isFileAt($file, string $path): bool
    {
        clearstatcache(true, $path);
        $atPath = Warnings::off(static fn () => lstat($path));
        $opened = fstat($file);

        return $atPath !== false && $atPath['ino'] === $opened['ino'] && $atPath['dev'] === $opened['dev'];
    }

    private static function safeName(string $bucket): string
    {
        $name = preg_replace_callback('/[^A-Za-z0-9_-]/', static fn (array $byte): string => sprintf('%%%02X', ord($byte[0])), $bucket);

        return strlen($name) <= self::NAME_BYTES ? $name : substr($name, 0, self::NAME_BYTES) . '~' . hash('crc32b', $bucket);
    }

    /**
     * The same for all requests of one worker, so that an outage makes a file per worker and not one per request;
     * another one for a later process with the same number. Where the system doesn't tell, it is random per request.
     */
    private static function processToken(): string
    {
        static $pid = null, $token = null;
        if ($pid === getmypid()) {
            return $token;
        }
        $stat = Warnings::off(static fn () => file_get_contents('/proc/self/stat'));
        // Fields 3 and on follow the program's name, which stands in brackets; field 22 is the time of its start.
        $started = $stat === false ? null : explode(' ', substr($stat, strrpos($stat, ')') + 2))[22 - 3] ?? null;
        [$pid, $token] = [getmypid(), $started === null ? self::randomToken() : hash('crc32b', gethostname() . ' ' . $started)];

        return $token;
    }

    private static function randomToken(): string
    {
        return bin2hex(random_bytes(4));
    }
}
