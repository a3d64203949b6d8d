import { useEffect, useState } from 'react'
import { AlertTriangle, Check, CloudOff, Loader2, RefreshCw } from 'lucide-react'
import { toast } from 'sonner'
import { usePlant3dSync } from '../../hooks/usePlant3dSync'
import type { SyncApi, SyncView } from '../../types/plant3dSync'
import './SyncNowButton.css'

const PHASES: Record<string, string> = {
  feed: 'reading SYNAPSE',
  read: 'reading Plant 3D',
  compare: 'comparing',
  write: 'writing',
  push: 'writing to Plant 3D',
}

export interface SyncNowButtonProps {
  api: SyncApi
  projectId: string | null
  /** Reload what the page shows; called after each run that ended. */
  onSynced?: () => void
}

/** "3 min ago" in whole minutes, hours or days. */
export function age(lastSync: string | null, now: number): string {
  if (!lastSync) return 'never synced'
  const minutes = Math.max(0, Math.floor((now - Date.parse(lastSync)) / 60_000))
  if (Number.isNaN(minutes)) return 'never synced'
  if (minutes < 1) return 'just now'
  if (minutes < 60) return `${minutes} min ago`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} d ago`
}

function useNow(): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 30_000)
    return () => clearInterval(timer)
  }, [])
  return now
}

function Badge({ view, now }: { view: SyncView; now: number }) {
  switch (view.kind) {
    case 'unknown':
      return <span className="p3d-badge p3d-muted">…</span>
    case 'queued':
      return <span className="p3d-badge p3d-info">queued</span>
    case 'running': {
      const phase = PHASES[view.phase ?? ''] ?? view.phase ?? 'running'
      const share = view.total ? ` ${Math.min(100, Math.round(((view.done ?? 0) / view.total) * 100))} %` : ''
      return <span className="p3d-badge p3d-info">{phase + share}</span>
    }
    case 'done':
      return (
        <span className="p3d-badge p3d-good">
          <Check size={12} aria-hidden /> in step
        </span>
      )
    case 'waiting':
      return (
        <a className="p3d-badge p3d-warn" href={view.console} target="_blank" rel="noreferrer">
          <AlertTriangle size={12} aria-hidden /> {view.conflicts} {view.conflicts === 1 ? 'conflict waits' : 'conflicts wait'} for you
        </a>
      )
    case 'failed':
      return (
        <a className="p3d-badge p3d-bad" href={view.console} title={view.reason} target="_blank" rel="noreferrer">
          <AlertTriangle size={12} aria-hidden /> failed
        </a>
      )
    case 'offline':
      return (
        <span className="p3d-badge p3d-muted">
          <CloudOff size={12} aria-hidden /> offline
        </span>
      )
    case 'idle':
      return <span className="p3d-badge p3d-muted">{age(view.lastSync, now)}</span>
    default:
      return null
  }
}

/** "Sync Now" with its result; nothing at all where the backend names no synchronisation service. */
export function SyncNowButton({ api, projectId, onSynced }: SyncNowButtonProps) {
  const now = useNow()
  const { view, mayStart, start } = usePlant3dSync(api, projectId, (ended) => {
    onSynced?.()
    if (ended.kind === 'failed') toast.error(`Plant 3D: ${ended.reason}`)
    else if (ended.kind === 'waiting') toast.warning(`Plant 3D: ${ended.conflicts} to decide`)
    else toast.success('Plant 3D and SYNAPSE are in step')
  })
  if (view.kind === 'hidden') return null
  const busy = view.kind === 'queued' || view.kind === 'running'
  const Icon = busy ? Loader2 : RefreshCw
  return (
    <span className="p3d-sync" data-state={view.kind}>
      <button type="button" className="p3d-button" onClick={start} disabled={busy || !mayStart || view.kind === 'unknown'}>
        <Icon size={14} aria-hidden className={busy ? 'p3d-spin' : undefined} /> Sync Now
      </button>
      <span role="status" aria-live="polite">
        <Badge view={view} now={now} />
      </span>
    </span>
  )
}
