<?php

declare(strict_types=1);

namespace Kahe;

/**
 * Asks the daemon what became of the frames of a connection: how many are safe (the receipt: a frame of N = 0, answered
 * with u64 LE), or what happened to them (the report: a frame of no bucket with the key `kahe?`, answered with a u32 LE
 * length and that many bytes of JSON). It never says safe of a frame that the daemon did not keep.
 *
 * @internal
 */
final class Questions
{
    private const REPORT = "\x07\0\0\0\0\5kahe?";
    private const REPORT_SETTLED = "\x0e\0\0\0\0\5kahe?settled";

    /** @param bool $isShared the connection carries frames of other clients and requests too */
    public function __construct(private readonly Connection $connection, private readonly bool $isShared)
    {
    }

    /**
     * Where a receipt counts less than what was written, a report tells why. On a shared connection nobody knows how many
     * frames there should be, so there only a report can tell whether one is missing.
     *
     * @param int $written how many frames the client wrote to this connection
     *
     * @return int how many frames of this connection are safe: all of them
     * @throws ConnectionFailed
     */
    public function safeFrames(int $written, Deadline $deadline): int
    {
        if (!$this->isShared) {
            $safe = unpack('P', $this->connection->ask(Frame::RECEIPT, 8, $deadline))[1];
            if ($safe >= $written) {
                return $safe;
            }
        }
        $report = $this->report(false, $deadline);
        $frames = max($written, $report['frames']);
        $missing = $frames - ($report['outcomes']['safe'] ?? 0) - ($report['outcomes']['rejected'] ?? 0);
        if ($missing > 0) {
            // The next connection begins without them, so they are told of once.
            throw $this->connection->failed(
                ConnectionFailed::DISCARDED,
                "discarded $missing of $frames frame(s) of this connection" . self::reasonsOfDiscards($report),
            );
        }

        return $frames;
    }

    /**
     * @return array<string, mixed> as Client::report() has it
     * @throws ConnectionFailed
     */
    public function report(bool $settled, Deadline $deadline): array
    {
        $json = $this->connection->ask($settled ? self::REPORT_SETTLED : self::REPORT, null, $deadline);
        $report = json_decode($json, true);
        if (!is_array($report) || !is_int($report['frames'] ?? null) || !is_array($report['outcomes'] ?? null) || !is_array($report['reasons'] ?? null)) {
            throw $this->connection->failed(ConnectionFailed::LOST, 'gave an answer that is no report');
        }

        return $report;
    }

    private static function reasonsOfDiscards(array $report): string
    {
        $texts = [];
        foreach ($report['reasons'] as $reason) {
            if (($reason['outcome'] ?? '') === 'discarded') {
                $texts[] = ($reason['frames'] ?? '?') . ' ' . ($reason['reason'] ?? '');
            }
        }

        return $texts === [] ? '' : ' (' . implode('; ', $texts) . ')';
    }
}
