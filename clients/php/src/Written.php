<?php

declare(strict_types=1);

namespace Kahe;

/**
 * What was written to the daemon, and what is known of it. A receipt and a report speak of one connection; so what was
 * written to a connection that ended is counted apart, and never called safe because of a later one.
 *
 * @internal
 */
final class Written
{
    /** Frames that the kernel took, and that were not taken back since. */
    private int $frames = 0;
    /** Those of the present connection; of them, those without a receipt, counted, or held as bytes. */
    private int $onConnection = 0;
    private int $withoutReceipt = 0;
    private string $held = '';
    /** On connections that ended: frames without a receipt, and frames without a report. */
    private int $inDoubt = 0;
    private int $unreported = 0;

    /** @param bool $holds keep the frames until their receipt, so that they can be written again */
    public function __construct(private readonly bool $holds)
    {
    }

    public function add(string $frames): void
    {
        $count = Frame::count($frames);
        $this->frames += $count;
        $this->onConnection += $count;
        if ($this->holds) {
            $this->held .= $frames;
        } else {
            $this->withoutReceipt += $count;
        }
    }

    /** A receipt for all of the connection's frames came. */
    public function confirm(): void
    {
        $this->held = '';
        $this->withoutReceipt = 0;
    }

    /**
     * The connection is gone: which frames have to be sent again? The daemon drops the frame that was cut in half,
     * so that one goes again as a whole. Those before it count as sent, unless we promised to see a receipt.
     *
     * @param string $frames  the frames of a failed write
     * @param int    $written how many bytes of them the kernel took
     */
    public function takeBack(string $frames, int $written): string
    {
        $whole = $this->holds ? 0 : Frame::wholeBytes($frames, $written);
        $this->add(substr($frames, 0, $whole));
        $again = Frame::count($this->held);
        $frames = $this->held . substr($frames, $whole);
        $this->frames -= $again;
        $this->unreported += $this->onConnection - $again;
        $this->inDoubt += $this->withoutReceipt;
        $this->forgetConnection();

        return $frames;
    }

    /** The application let the connection go. */
    public function forgetConnection(): void
    {
        $this->confirm();
        $this->onConnection = 0;
    }

    public function frames(): int
    {
        return $this->frames;
    }

    public function onConnection(): int
    {
        return $this->onConnection;
    }

    public function heldBytes(): int
    {
        return strlen($this->held);
    }

    public function areInDoubt(): bool
    {
        return $this->inDoubt > 0;
    }

    /** Once: frames of ended connections that never had a receipt. */
    public function takeInDoubt(): int
    {
        [$count, $this->inDoubt] = [$this->inDoubt, 0];

        return $count;
    }

    /** Once: frames of ended connections of which no report can come. */
    public function takeUnreported(): int
    {
        [$count, $this->unreported] = [$this->unreported, 0];

        return $count;
    }
}
